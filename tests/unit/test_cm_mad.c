/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/roce/cm_mad.h"

static const struct cm_mad request = {
	.kind = CM_REQ,
	.transaction = 0x0102030405060708,
	.local_id = 0x11223344,
	.req = {.service = CM_SERVICE_TCP | 7471,
		.ca_guid = 0xa0a1a2a3a4a5a6a7,
		.qpn = 0x00abcd,
		.psn = 0x123456,
		.responder_resources = 16,
		.initiator_depth = 8,
		.local_timeout = 20,
		.remote_timeout = 19,
		.retry_count = 7,
		.rnr_retry_count = 6,
		.cm_retries = 15,
		.ack_timeout = 14,
		.mtu = 1024,
		.srq = true,
		.src_address = {{[10] = 0xff, [11] = 0xff, 10, 0, 0, 1}},
		.dst_address = {{[10] = 0xff, [11] = 0xff, 10, 0, 0, 2}},
		.src_port = 40000},
	.private_data = "hello",
	.private_len = 5,
};

static void bytes_at(const uint8_t *mad, size_t at, const char *want, size_t n)
{
	assert_memory_equal(mad + at, want, n);
}

/* Offsets counted by hand from the tables of IBTA 12.6.5. */
static void test_req_bytes(void **state)
{
	uint8_t mad[CM_MAD_BYTES];

	(void)state;
	assert_int_equal(cm_mad_build(mad, &request), 0);
	bytes_at(mad, 0, "\x01\x07\x02\x03\0\0\0\0", 8);
	bytes_at(mad, 8, "\x01\x02\x03\x04\x05\x06\x07\x08\0\x10\0\0\0\0\0\0", 16);
	bytes_at(mad, 24, "\x11\x22\x33\x44\0\0\0\0\0\0\0\0\x01\x06\x1d\x2f", 16);
	bytes_at(mad, 40, "\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\0\0\0\0\0\0\0\0", 16);
	bytes_at(mad, 56, "\0\xab\xcd\x10\0\0\0\x08\0\0\0\x98\x12\x34\x56\xa7", 16);
	bytes_at(mad, 72, "\xff\xff\x36\xf8\xff\xff\xff\xff", 8);
	bytes_at(mad, 80, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	bytes_at(mad, 96, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x02", 16);
	assert_int_equal(mad[119], 14 << 3);
	bytes_at(mad, 164, "\0\x40\x9c\x40\0\0\0\0\0\0\0\0\0\0\0\0\x0a\0\0\x01", 20);
	bytes_at(mad, 184, "\0\0\0\0\0\0\0\0\0\0\0\0\x0a\0\0\x02hello\0", 22);
}

static void test_req_back(void **state)
{
	uint8_t mad[CM_MAD_BYTES];
	struct cm_mad out;

	(void)state;
	cm_mad_build(mad, &request);
	assert_int_equal(cm_mad_parse(&out, mad, sizeof(mad)), 0);
	assert_int_equal(out.kind, CM_REQ);
	assert_int_equal(out.transaction, request.transaction);
	assert_int_equal(out.local_id, request.local_id);
	assert_int_equal(out.req.service, request.req.service);
	assert_int_equal(out.req.qpn, request.req.qpn);
	assert_int_equal(out.req.psn, request.req.psn);
	assert_int_equal(out.req.responder_resources, 16);
	assert_int_equal(out.req.initiator_depth, 8);
	assert_int_equal(out.req.local_timeout, 20);
	assert_int_equal(out.req.remote_timeout, 19);
	assert_int_equal(out.req.retry_count, 7);
	assert_int_equal(out.req.rnr_retry_count, 6);
	assert_int_equal(out.req.cm_retries, 15);
	assert_int_equal(out.req.ack_timeout, 14);
	assert_int_equal(out.req.mtu, 1024);
	assert_true(out.req.srq);
	assert_true(ip_addr_equal(out.req.src_address, ip_addr_v4(0x0a000001)));
	assert_true(ip_addr_equal(out.req.dst_address, ip_addr_v4(0x0a000002)));
	assert_int_equal(out.req.src_port, 40000);
	assert_int_equal(out.private_len, CM_REQ_PRIVATE);
	assert_memory_equal(out.private_data, "hello\0", 6);
}

static void test_rep(void **state)
{
	const struct cm_mad rep = {.kind = CM_REP,
				   .local_id = 5,
				   .remote_id = 6,
				   .rep = {.qpn = 0x1234,
					   .psn = 0xfedcba,
					   .responder_resources = 3,
					   .initiator_depth = 4,
					   .ack_delay = 9,
					   .rnr_retry_count = 7,
					   .srq = true,
					   .ca_guid = 0x1111111122222222},
				   .private_data = "x",
				   .private_len = 1};
	uint8_t mad[CM_MAD_BYTES];
	struct cm_mad out;

	(void)state;
	assert_int_equal(cm_mad_build(mad, &rep), 0);
	bytes_at(mad, 16, "\0\x13", 2);
	bytes_at(mad, 24, "\0\0\0\x05\0\0\0\x06\0\0\0\0\0\x12\x34\0\0\0\0\0\xfe\xdc\xba\0", 24);
	bytes_at(mad, 48, "\x03\x04\x48\xf0\x11\x11\x11\x11\x22\x22\x22\x22x\0", 14);
	assert_int_equal(cm_mad_parse(&out, mad, sizeof(mad)), 0);
	assert_memory_equal(&out.rep, &rep.rep, offsetof(struct cm_rep, srq));
	assert_int_equal(out.rep.ca_guid, rep.rep.ca_guid);
	assert_int_equal(out.private_len, CM_REP_PRIVATE);
	assert_int_equal(out.local_id, 5);
	assert_int_equal(out.remote_id, 6);
}

static void test_small_ones(void **state)
{
	struct cm_mad m = {.kind = CM_REJ,
			   .local_id = 1,
			   .remote_id = 2,
			   .rej = {.about = CM_ABOUT_REP,
				   .reason = CM_REJ_CONSUMER,
				   .info = "inf",
				   .info_len = 3},
			   .private_data = "why",
			   .private_len = 3};
	uint8_t mad[CM_MAD_BYTES];
	struct cm_mad out;

	(void)state;
	assert_int_equal(cm_mad_build(mad, &m), 0);
	bytes_at(mad, 32, "\x40\x06\0\x1cinf\0", 8);
	bytes_at(mad, 108, "why", 4);
	assert_int_equal(cm_mad_parse(&out, mad, sizeof(mad)), 0);
	assert_int_equal(out.rej.about, CM_ABOUT_REP);
	assert_int_equal(out.rej.reason, CM_REJ_CONSUMER);
	assert_int_equal(out.rej.info_len, 3);

	m = (struct cm_mad){.kind = CM_MRA, .mra = {.about = CM_ABOUT_REQ, .timeout = 21}};
	assert_int_equal(cm_mad_build(mad, &m), 0);
	bytes_at(mad, 32, "\0\xa8", 2);
	assert_int_equal(cm_mad_parse(&out, mad, sizeof(mad)), 0);
	assert_int_equal(out.mra.timeout, 21);

	m = (struct cm_mad){.kind = CM_DREQ, .dreq = {.remote_qpn = 0x010203}};
	assert_int_equal(cm_mad_build(mad, &m), 0);
	bytes_at(mad, 32, "\x01\x02\x03\0", 4);
	assert_int_equal(cm_mad_parse(&out, mad, sizeof(mad)), 0);
	assert_int_equal(out.dreq.remote_qpn, 0x010203);

	for (unsigned kind = CM_RTU; kind <= CM_DREP; kind += CM_DREP - CM_RTU) {
		m = (struct cm_mad){.kind = (uint16_t)kind, .local_id = 8, .remote_id = 9};
		assert_int_equal(cm_mad_build(mad, &m), 0);
		assert_int_equal(cm_mad_parse(&out, mad, sizeof(mad)), 0);
		assert_int_equal(out.kind, kind);
		assert_int_equal(out.remote_id, 9);
		assert_int_equal(out.private_len, CM_RTU_PRIVATE);
	}
}

static void expect_parse(size_t at, uint8_t value, int want)
{
	uint8_t mad[CM_MAD_BYTES];
	struct cm_mad out;

	cm_mad_build(mad, &request);
	mad[at] = value;
	assert_int_equal(cm_mad_parse(&out, mad, sizeof(mad)), want);
}

static void test_refusals(void **state)
{
	struct cm_mad m = request;
	uint8_t mad[CM_MAD_BYTES];

	(void)state;
	expect_parse(0, 2, -EPROTO);
	expect_parse(1, 3, -EPROTO);
	expect_parse(2, 1, -EPROTO);
	expect_parse(3, 0x81, -EPROTO);
	expect_parse(17, 0x17, -ENOTSUP);
	expect_parse(67, 0x98 | 1 << 1, -ENOTSUP); /* UC */
	expect_parse(75, 0xf9, -ENOTSUP);          /* XRC */
	expect_parse(74, 0x66, -EINVAL);           /* MTU code 6 */
	expect_parse(164, 1, -EINVAL);
	expect_parse(165, 0x50, -EINVAL); /* neither IPv4 nor IPv6 */
	cm_mad_build(mad, &request);
	assert_int_equal(cm_mad_parse(&m, mad, 255), -EPROTO);
	m = request;
	m.private_len = CM_REQ_PRIVATE + 1;
	assert_int_equal(cm_mad_build(mad, &m), -EINVAL);
	m = request;
	m.req.mtu = 1500;
	assert_int_equal(cm_mad_build(mad, &m), -EINVAL);
	m = request;
	m.kind = 0x20;
	assert_int_equal(cm_mad_build(mad, &m), -EINVAL);
}

static void test_any_bytes(void **state)
{
	uint8_t mad[CM_MAD_BYTES];
	uint64_t random = 7;
	struct cm_mad out;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		cm_mad_build(mad, &request);
		mad[17] = (uint8_t)(0x10 + i % 7);
		for (unsigned j = 24; j < sizeof(mad); j++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			mad[j] = (uint8_t)(random >> 56);
		}
		cm_mad_parse(&out, mad, sizeof(mad));
		assert_true(out.private_len <= CM_PRIVATE_MAX);
	}
}

static void test_timeouts(void **state)
{
	(void)state;
	assert_int_equal(cm_timeout_encode(0), 0);
	assert_int_equal(cm_timeout_encode(4096), 0);
	assert_int_equal(cm_timeout_encode(4097), 1);
	assert_int_equal(cm_timeout_encode(UINT64_MAX), 31);
	assert_int_equal(cm_timeout_ns(14), 67108864);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_req_bytes), cmocka_unit_test(test_req_back),
		cmocka_unit_test(test_rep),       cmocka_unit_test(test_small_ones),
		cmocka_unit_test(test_refusals),  cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_timeouts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
