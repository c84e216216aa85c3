# SPDX-License-Identifier: Apache-2.0
# Unit tests (cmocka), one program per source file; tests/run.py runs them, the guards and pytest.
TEST_CFLAGS = $(ETAG_CFLAGS) $(LIBEVENT_CFLAGS) $(CMOCKA_CFLAGS)
TEST_LDADD = etagd/libetagd.la $(CMOCKA_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += \
	tests/unit/test_entity_tag \
	tests/unit/test_coding \
	tests/unit/test_httpdate \
	tests/unit/test_precondition \
	tests/unit/test_digest \
	tests/unit/test_key \
	tests/unit/test_scope \
	tests/unit/test_scope_cover \
	tests/unit/test_entry \
	tests/unit/test_name \
	tests/unit/test_structured \
	tests/unit/test_search \
	tests/unit/test_file_identity \
	tests/unit/test_table \
	tests/unit/test_table_syscalls \
	tests/unit/test_writer \
	tests/unit/test_proto \
	tests/unit/test_client \
	tests/unit/test_conf \
	tests/unit/test_connection \
	tests/unit/test_coherence \
	tests/unit/test_sentinel_answer \
	tests/unit/test_sentinel_majority \
	tests/unit/test_entry_text \
	tests/unit/test_effect \
	tests/unit/test_versions \
	tests/unit/test_hosts \
	tests/unit/test_unsent \
	tests/unit/test_file_mount \
	tests/unit/test_flight \
	tests/unit/test_digest_file \
	tests/unit/test_digests \
	tests/unit/test_fetch \
	tests/unit/test_cluster_answer \
	tests/unit/test_cluster_majority \
	tests/unit/test_store
endif
tests_unit_test_entity_tag_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_entity_tag_LDADD = $(TEST_LDADD)
tests_unit_test_coding_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_coding_LDADD = $(TEST_LDADD)
tests_unit_test_httpdate_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_httpdate_LDADD = $(TEST_LDADD)
tests_unit_test_precondition_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_precondition_LDADD = $(TEST_LDADD)
tests_unit_test_digest_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_digest_LDADD = $(TEST_LDADD)
tests_unit_test_key_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_key_LDADD = $(TEST_LDADD)
tests_unit_test_scope_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_scope_LDADD = $(TEST_LDADD)
tests_unit_test_scope_cover_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_scope_cover_LDADD = $(TEST_LDADD)
tests_unit_test_entry_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_entry_LDADD = $(TEST_LDADD)
tests_unit_test_name_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_name_LDADD = $(TEST_LDADD)
tests_unit_test_structured_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_structured_LDADD = $(TEST_LDADD)
tests_unit_test_search_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_search_LDADD = $(TEST_LDADD)
tests_unit_test_file_identity_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_file_identity_LDADD = $(TEST_LDADD)
tests_unit_test_table_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_table_LDADD = $(TEST_LDADD)
tests_unit_test_table_syscalls_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_table_syscalls_LDADD = $(TEST_LDADD)
tests_unit_test_writer_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_writer_LDADD = $(TEST_LDADD)
tests_unit_test_proto_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_proto_LDADD = $(TEST_LDADD)
tests_unit_test_client_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_client_LDADD = $(TEST_LDADD)
tests_unit_test_conf_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_conf_LDADD = $(TEST_LDADD)
tests_unit_test_connection_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_connection_LDADD = $(TEST_LDADD)
tests_unit_test_entry_text_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_entry_text_LDADD = $(TEST_LDADD)
tests_unit_test_versions_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_versions_LDADD = $(TEST_LDADD)
tests_unit_test_effect_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_effect_LDADD = $(TEST_LDADD)
tests_unit_test_hosts_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_hosts_LDADD = $(TEST_LDADD)
tests_unit_test_unsent_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_unsent_LDADD = $(TEST_LDADD)
tests_unit_test_file_mount_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_file_mount_LDADD = $(TEST_LDADD)
tests_unit_test_flight_CFLAGS = $(TEST_CFLAGS) -pthread
tests_unit_test_flight_LDADD = $(TEST_LDADD)
tests_unit_test_digest_file_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_digest_file_LDADD = $(TEST_LDADD)
tests_unit_test_digests_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_digests_LDADD = $(TEST_LDADD)
tests_unit_test_cluster_majority_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_cluster_majority_LDADD = $(TEST_LDADD)
tests_unit_test_cluster_answer_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_cluster_answer_LDADD = $(TEST_LDADD)
tests_unit_test_fetch_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_fetch_LDADD = $(TEST_LDADD)
tests_unit_test_coherence_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_coherence_LDADD = $(TEST_LDADD)
tests_unit_test_sentinel_answer_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_sentinel_answer_LDADD = $(TEST_LDADD) $(HIREDIS_LIBS)
tests_unit_test_sentinel_majority_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_sentinel_majority_LDADD = $(TEST_LDADD)
tests_unit_test_store_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_store_LDADD = $(TEST_LDADD)

# Longer programs: the table under threads, under corruption, and stopped at every instruction.
check_PROGRAMS += tests/stress/table_stress tests/stress/table_step tests/fuzz/table_corrupt
tests_stress_table_stress_CFLAGS = $(TEST_CFLAGS) -pthread
tests_stress_table_stress_LDADD = $(TEST_LDADD)
tests_stress_table_step_CFLAGS = $(TEST_CFLAGS)
tests_stress_table_step_LDADD = $(TEST_LDADD)
tests_fuzz_table_corrupt_CFLAGS = $(TEST_CFLAGS)
tests_fuzz_table_corrupt_LDADD = $(TEST_LDADD)

# The fuzz targets of the library, over their corpus and changes of it (tests/fuzz/target.h for libFuzzer).
check_PROGRAMS += tests/fuzz/replay
tests_fuzz_replay_SOURCES = tests/fuzz/replay.c tests/fuzz/target.h tests/fuzz/tags.c tests/fuzz/keys.c \
	tests/fuzz/scopes.c tests/fuzz/entries.c tests/fuzz/digests.c tests/fuzz/fields.c
tests_fuzz_replay_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS=\"$(abs_top_srcdir)/tests/fuzz/corpus\"
tests_fuzz_replay_CFLAGS = $(ETAG_CFLAGS)
tests_fuzz_replay_LDADD = etagd/libetagd.la
EXTRA_DIST += tests/fuzz/corpus tests/unit/exact.h tests/unit/precondition_cases.h tests/unit/scope_set.h \
	tests/unit/store_fixture.h tests/unit/digest_bytes.h tests/soak/planted.h tests/stress/table_planted.h

# What integration tests use beside httpd: a reader of a node's table.
check_PROGRAMS += tests/integration/tools/lookup
tests_integration_tools_lookup_CFLAGS = $(ETAG_CFLAGS)
tests_integration_tools_lookup_LDADD = etagd/libetag.la

# The soak's own client of etagd and reader of its table.
check_PROGRAMS += tests/soak/flood
tests_soak_flood_CFLAGS = $(ETAG_CFLAGS) -pthread
tests_soak_flood_LDADD = etagd/libetag.la

EXTRA_PROGRAMS += tests/bench/table_lookup
tests_bench_table_lookup_CFLAGS = $(TEST_CFLAGS)
tests_bench_table_lookup_LDADD = $(TEST_LDADD) -lm
EXTRA_PROGRAMS += tests/bench/table_readers
tests_bench_table_readers_CFLAGS = $(TEST_CFLAGS)
tests_bench_table_readers_LDADD = $(TEST_LDADD)
EXTRA_PROGRAMS += tests/bench/followers
tests_bench_followers_CFLAGS = $(ETAG_CFLAGS)
tests_bench_followers_LDADD = etagd/libetagd.la

# The reader with faults planted: these programs must then fail (tests/programs.py).
PLANTED = -DPLANT_WINDOW -DPLANT_CHECKSUM -DPLANT_LEASE
check_PROGRAMS += tests/stress/table_stress_planted tests/stress/table_step_planted
tests_stress_table_stress_planted_SOURCES = tests/stress/table_stress.c tests/stress/table_planted.c
tests_stress_table_stress_planted_CFLAGS = $(TEST_CFLAGS) $(PLANTED) -pthread
tests_stress_table_stress_planted_LDADD = $(TEST_LDADD)
tests_stress_table_step_planted_SOURCES = tests/stress/table_step.c tests/stress/table_planted.c
tests_stress_table_step_planted_CFLAGS = $(TEST_CFLAGS) $(PLANTED)
tests_stress_table_step_planted_LDADD = $(TEST_LDADD)

# What runs them. The GNUmakefile in front builds the tree for the sanitizers and installs what is missing.
TEST_RUN = ETAG_BUILD=$(abs_top_builddir) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) $(top_srcdir)/tests
ASAN_TREE = $(wildcard $(abs_top_srcdir)/build/asan)
TSAN_TREE = $(wildcard $(abs_top_srcdir)/build/tsan)

.PHONY: programs check-long check-suites demo bench soak soak-power
# A make of their own: beside all, which is one too (BUILT_SOURCES), both would make the libraries.
programs: all
	@$(MAKE) $(AM_MAKEFLAGS) $(check_PROGRAMS)
check-local:
	@$(TEST_RUN)/run.py $(addprefix --asan=,$(ASAN_TREE)) $(TESTFLAGS)
check-long: programs
	@$(TEST_RUN)/run.py --long $(addprefix --asan=,$(ASAN_TREE)) $(addprefix --tsan=,$(TSAN_TREE)) $(TESTFLAGS)
check-suites: all
	@$(TEST_RUN)/run.py --only suites $(TESTFLAGS)
demo: all
	@$(TEST_RUN)/demo/demo.py
# The history checker: MINUTES of random faults; soak-power shows that it would notice.
MINUTES = 2
soak: programs
	@$(TEST_RUN)/soak/soak.py --minutes $(MINUTES) $(addsuffix /etagd/etagd,$(addprefix --asan=,$(ASAN_TREE))) $(SOAKFLAGS)
soak-power: programs
	@$(TEST_RUN)/soak/power.py $(SOAKFLAGS)
bench: all
	@$(MAKE) $(AM_MAKEFLAGS) $(EXTRA_PROGRAMS)
	@$(TEST_RUN)/bench/run.py $(BENCHFLAGS)
