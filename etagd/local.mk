# SPDX-License-Identifier: Apache-2.0
# libetag: the contract of both sides. libetagd: the daemon without main, so that tests can link it.
ETAG_CFLAGS = $(AM_CFLAGS) -Wconversion -fvisibility=hidden $(HIREDIS_CFLAGS) $(CRYPTO_CFLAGS) $(XXHASH_CFLAGS)

noinst_LTLIBRARIES += etagd/libetag.la etagd/libetagd.la

etagd_libetag_la_SOURCES = \
	etagd/lib/span.h etagd/lib/time_namespace.h \
	etagd/lib/entity_tag.c etagd/lib/entity_tag.h \
	etagd/lib/coding.c etagd/lib/coding.h \
	etagd/lib/httpdate.c etagd/lib/httpdate.h \
	etagd/lib/precondition.c etagd/lib/precondition.h \
	etagd/lib/digest.c etagd/lib/digest.h \
	etagd/lib/key.c etagd/lib/key.h \
	etagd/lib/scope.c etagd/lib/scope.h \
	etagd/lib/entry.c etagd/lib/entry.h \
	etagd/lib/name.c etagd/lib/name.h \
	etagd/lib/version.c etagd/lib/version.h \
	etagd/lib/detection.h \
	etagd/lib/file_identity.c etagd/lib/file_identity.h \
	etagd/lib/file_mount.c etagd/lib/file_mount.h \
	etagd/lib/flight.c etagd/lib/flight.h \
	etagd/lib/siphash.h etagd/lib/table_word.h etagd/lib/xxh.h \
	etagd/lib/table.c etagd/lib/table.h \
	etagd/lib/proto.c etagd/lib/proto.h \
	etagd/lib/structured.c etagd/lib/structured.h \
	etagd/lib/search.c etagd/lib/search.h \
	etagd/lib/descriptors.c etagd/lib/descriptors.h \
	etagd/lib/client.c etagd/lib/client.h
etagd_libetag_la_CFLAGS = $(ETAG_CFLAGS)
etagd_libetag_la_LIBADD = $(HIREDIS_LIBS) $(CRYPTO_LIBS)

etagd_libetagd_la_SOURCES = \
	etagd/accounts.c etagd/accounts.h \
	etagd/conf.c etagd/conf.h etagd/conf_check.c etagd/conf_path.c etagd/conf_private.h \
	etagd/log.c etagd/log.h \
	etagd/notify.c etagd/notify.h \
	etagd/clock.h \
	etagd/log_id.c etagd/log_id.h \
	etagd/redis_url.c etagd/redis_url.h \
	etagd/tls.c etagd/tls.h \
	etagd/redis.c etagd/redis.h etagd/redis_state.h etagd/redis_connect.c \
	etagd/resolver.c etagd/resolver.h etagd/redis_transport.c etagd/redis_transport.h \
	etagd/script.c etagd/script.h \
	etagd/coherence.c etagd/coherence.h \
	etagd/witness.c etagd/witness.h etagd/witnesses.c etagd/witnesses.h \
	etagd/cluster_answer.c etagd/cluster_answer.h etagd/routes.c etagd/routes.h \
	etagd/cluster.c etagd/cluster.h etagd/cluster_majority.c etagd/cluster_majority.h \
	etagd/sentinel.c etagd/sentinel.h etagd/sentinel_answer.c etagd/sentinel_answer.h \
	etagd/sentinel_majority.c etagd/sentinel_majority.h \
	etagd/follower.c etagd/follower.h etagd/follower_state.h etagd/follower_lease.c \
	etagd/writer.c etagd/writer.h etagd/writer_private.h \
	etagd/writer_memory.c etagd/writer_index.c etagd/writer_ring.c etagd/writer_dict.c etagd/writer_cells.c \
	etagd/fields.c etagd/fields.h \
	etagd/hosts.c etagd/hosts.h \
	etagd/effect.c etagd/effect.h \
	etagd/positions.c etagd/positions.h \
	etagd/entry_text.c etagd/entry_text.h \
	etagd/name_judge.c etagd/name_judge.h \
	etagd/versions.c etagd/versions.h \
	etagd/embedded.c etagd/embedded.h \
	etagd/unsent.c etagd/unsent.h \
	etagd/digest_file.c etagd/digest_file.h \
	etagd/digests.c etagd/digests.h \
	etagd/fetch.c etagd/fetch.h \
	etagd/shared.c etagd/shared.h etagd/shared_state.h etagd/shared_entry.c etagd/shared_log.c \
	etagd/shared_name.c \
	etagd/store.c etagd/store.h etagd/store_state.h etagd/store_put.c etagd/store_conflict.c etagd/store_name.c \
	etagd/store_version.c etagd/store_info.c \
	etagd/hasher.c etagd/hasher.h \
	etagd/resp.c etagd/resp.h \
	etagd/dispatch.c etagd/dispatch.h etagd/dispatch_command.h etagd/dispatch_log.c etagd/dispatch_name.c \
	etagd/dispatch_describe.c etagd/dispatch_detected.c etagd/info.c \
	etagd/listener.c etagd/listener.h \
	etagd/connection.c etagd/connection.h \
	etagd/server.c etagd/server.h \
	etagd/options.c etagd/options.h \
	etagd/daemon.c etagd/daemon.h
nodist_etagd_libetagd_la_SOURCES = etagd/lua.h
etagd_libetagd_la_CFLAGS = $(ETAG_CFLAGS) $(LIBEVENT_CFLAGS) -pthread
etagd_libetagd_la_LIBADD = etagd/libetag.la $(LIBEVENT_LIBS) $(CRYPTO_LIBS) -lpthread

sbin_PROGRAMS += etagd/etagd
etagd_etagd_SOURCES = etagd/main.c
etagd_etagd_CFLAGS = $(ETAG_CFLAGS)
etagd_etagd_LDADD = etagd/libetagd.la

# The Lua scripts, each a file of its own, as C strings: lua_renew, lua_put, ...
ETAG_LUA = $(top_srcdir)/etagd/lua/ids.lua $(top_srcdir)/etagd/lua/renew.lua $(top_srcdir)/etagd/lua/put.lua $(top_srcdir)/etagd/lua/names.lua $(top_srcdir)/etagd/lua/name.lua
EXTRA_DIST += $(ETAG_LUA) etagd/lua/embed.awk
BUILT_SOURCES += etagd/lua.h
CLEANFILES += etagd/lua.h
etagd/lua.h: $(ETAG_LUA) $(top_srcdir)/etagd/lua/embed.awk
	$(AM_V_GEN)$(MKDIR_P) etagd && $(AWK) -f $(top_srcdir)/etagd/lua/embed.awk $(ETAG_LUA) > $@.tmp && mv $@.tmp $@
# BUILT_SOURCES only help "make all"; a single target needs to know.
etagd/libetagd_la-follower.lo etagd/libetagd_la-shared.lo: etagd/lua.h
