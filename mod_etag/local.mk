# SPDX-License-Identifier: Apache-2.0
# The httpd module: glue over libetag. httpd's headers do not compile with -Wconversion.
module_LTLIBRARIES = mod_etag/mod_etag.la

mod_etag_mod_etag_la_SOURCES = \
	mod_etag/mod_etag.c mod_etag/mod_etag.h \
	mod_etag/config.c mod_etag/config.h \
	mod_etag/directives.c mod_etag/directives.h \
	mod_etag/values.c mod_etag/values.h \
	mod_etag/config_warn.c \
	mod_etag/same_name.c mod_etag/same_name.h \
	mod_etag/node.c mod_etag/node.h mod_etag/node_private.h \
	mod_etag/connections.c mod_etag/announce.c \
	mod_etag/shared.c mod_etag/shared.h \
	mod_etag/pending_file.c mod_etag/pending_file.h \
	mod_etag/request.c mod_etag/request.h \
	mod_etag/variant.c mod_etag/variant.h \
	mod_etag/credentials.c \
	mod_etag/file_digest.c mod_etag/file_digest.h \
	mod_etag/digest_cache.c mod_etag/digest_cache.h \
	mod_etag/hash.c mod_etag/hash.h \
	mod_etag/early.c mod_etag/early_write.c mod_etag/early.h \
	mod_etag/field.c mod_etag/field.h \
	mod_etag/probe.c mod_etag/probe.h \
	mod_etag/tag.c mod_etag/tag.h \
	mod_etag/in.c mod_etag/in.h \
	mod_etag/modified.c mod_etag/modified.h \
	mod_etag/body.c mod_etag/body.h \
	mod_etag/await.c mod_etag/await.h \
	mod_etag/labels.c mod_etag/labels.h \
	mod_etag/control.c mod_etag/control.h \
	mod_etag/selection.c mod_etag/selection.h \
	mod_etag/generation.c mod_etag/generation.h \
	mod_etag/version.c mod_etag/version.h \
	mod_etag/learn.c mod_etag/learn.h \
	mod_etag/publish.c mod_etag/publish.h \
	mod_etag/cache.c mod_etag/cache.h \
	mod_etag/coders.c mod_etag/coders.h \
	mod_etag/dav.c mod_etag/dav.h \
	mod_etag/detect.c mod_etag/detect_body.c mod_etag/detect.h \
	mod_etag/tee.c mod_etag/tee.h \
	mod_etag/seal.c mod_etag/seal.h \
	mod_etag/finish.c mod_etag/finish.h \
	mod_etag/write.c mod_etag/write.h
# httpd's configuration header defines autoconf's PACKAGE_* as well: ours go first.
mod_etag_mod_etag_la_CPPFLAGS = -UPACKAGE_NAME -UPACKAGE_STRING -UPACKAGE_TARNAME -UPACKAGE_VERSION \
	-UPACKAGE_BUGREPORT -UPACKAGE_URL $(AM_CPPFLAGS) $(APACHE_CPPFLAGS) $(APR_CFLAGS)
mod_etag_mod_etag_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden -Wno-undef -Wno-strict-prototypes
mod_etag_mod_etag_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -export-symbols-regex etag_module
mod_etag_mod_etag_la_LIBADD = etagd/libetag.la

# A module needs no .la; installed ones confuse packagers.
install-data-hook:
	rm -f $(DESTDIR)$(moduledir)/mod_etag.la
uninstall-hook:
	rm -f $(DESTDIR)$(moduledir)/mod_etag.so
