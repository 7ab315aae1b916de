/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ipc_pair.h"

static void slot_fill(uint8_t *slots, unsigned n, uint64_t value)
{
	memset(slots, 0, (size_t)n * CHANNEL_SLOT);
	slots[3] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		uint64_t v = value + i;

		memcpy(slots + (size_t)i * CHANNEL_SLOT + 8, &v, sizeof(v));
	}
}

static uint64_t slot_value(const uint8_t *slots, unsigned i)
{
	uint64_t v;

	memcpy(&v, slots + (size_t)i * CHANNEL_SLOT + 8, sizeof(v));
	return v;
}

static void push(struct channel *ch, unsigned n, uint64_t value)
{
	uint8_t slots[CHANNEL_RECORD_SLOTS * CHANNEL_SLOT];

	slot_fill(slots, n, value);
	channel_push(ch, slots, n);
}

static void sizes(void **state)
{
	struct pair p;
	struct channel ch;

	(void)state;
	assert_true(channel_size_ok(CHANNEL_SLOTS_MIN, CHANNEL_ARENA_MIN));
	assert_true(channel_size_ok(CHANNEL_SLOTS_MAX, CHANNEL_ARENA_MAX));
	assert_false(channel_size_ok(CHANNEL_SLOTS_MIN / 2, CHANNEL_ARENA_MIN));
	assert_false(channel_size_ok(CHANNEL_SLOTS_MAX * 2, CHANNEL_ARENA_MIN));
	assert_false(channel_size_ok(100, CHANNEL_ARENA_MIN));
	assert_false(channel_size_ok(CHANNEL_SLOTS_MIN, CHANNEL_ARENA_MIN / 2));
	assert_false(channel_size_ok(CHANNEL_SLOTS_MIN, CHANNEL_ARENA_MIN + 64));
	assert_false(channel_size_ok(0, 0));
	pair_make(&p);
	assert_int_equal(channel_open(&ch, p.half[0], p.half[1], 48, PAIR_ARENA), -EINVAL);
	/* a header that says otherwise is not believed */
	assert_int_equal(channel_open(&ch, p.half[0], p.half[1], 2 * PAIR_SLOTS, PAIR_ARENA), -EPROTO);
	assert_int_equal(channel_open(&ch, p.half[0], p.half[1], PAIR_SLOTS, 2 * PAIR_ARENA), -EPROTO);
	((struct channel_header *)p.half[1])->major++;
	assert_int_equal(channel_open(&ch, p.half[0], p.half[1], PAIR_SLOTS, PAIR_ARENA), -EPROTO);
	((struct channel_header *)p.half[1])->major--;
	((struct channel_header *)p.half[1])->magic ^= 1;
	assert_int_equal(channel_open(&ch, p.half[0], p.half[1], PAIR_SLOTS, PAIR_ARENA), -EPROTO);
	pair_free(&p);
}

/* Records of every size, many laps, both ways, running counts from just before they overflow. */
static void laps(void **state)
{
	uint8_t out[CHANNEL_RECORD_SLOTS * CHANNEL_SLOT];
	uint64_t wrote = 0, read = 0;
	uint32_t start[] = {0, 0xfffffe00};
	struct pair p;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		pair_make(&p);
		p.a.tx_head = p.a.tx_consumed = p.b.rx_head = start[k];
		((struct channel_header *)p.half[1])->consumed_slots = start[k];
		for (unsigned i = 0; k && i < PAIR_SLOTS; i++) /* as the lap before left them */
			p.a.tx[i].seq = start[k] - PAIR_SLOTS + i + 1;
		wrote = read = 0;
		for (unsigned i = 0; i < 3000; i++) {
			unsigned n = i % CHANNEL_RECORD_SLOTS + 1;

			if (channel_room(&p.a, n, 0) == 1) {
				push(&p.a, n, wrote);
				wrote += n;
			}
			for (unsigned j = 0; j < i % 3; j++) {
				int got = channel_pop(&p.b, out);

				assert_true(got >= 0);
				for (int s = 0; s < got; s++)
					assert_int_equal(slot_value(out, (unsigned)s), read++);
			}
			channel_consumed(&p.b);
			assert_true(wrote - read <= PAIR_SLOTS);
		}
		while (channel_pop(&p.b, out) > 0)
			read += out[3];
		assert_int_equal(read, wrote);
		assert_false(channel_pending(&p.b));
		assert_int_equal(channel_pop(&p.b, out), 0);
		pair_free(&p);
	}
}

static void full(void **state)
{
	uint8_t out[CHANNEL_RECORD_SLOTS * CHANNEL_SLOT];
	struct pair p;

	(void)state;
	pair_make(&p);
	for (unsigned i = 0; i < PAIR_SLOTS; i++) {
		assert_int_equal(channel_room(&p.a, 1, 0), 1);
		push(&p.a, 1, i);
	}
	assert_int_equal(channel_room(&p.a, 1, 0), 0);
	assert_int_equal(channel_pop(&p.b, out), 1);
	assert_int_equal(channel_room(&p.a, 1, 0), 0); /* not before the reader says so */
	channel_taken(&p.b);
	assert_int_equal(channel_room(&p.a, 1, 0), 1);
	assert_int_equal(channel_room(&p.a, 2, 0), 0);
	pair_free(&p);
}

static void reservations(void **state)
{
	struct pair p;
	uint32_t pos;

	(void)state;
	pair_make(&p);
	channel_reserve(&p.a, PAIR_SLOTS - 2, 100);
	assert_int_equal(p.a.reserved_bytes, 128);
	assert_int_equal(channel_room(&p.a, 3, 0), 0);
	assert_int_equal(channel_room(&p.a, 2, 0), 1);
	push(&p.a, 1, 1);
	assert_int_equal(channel_room(&p.a, 2, 0), 0);
	channel_unreserve(&p.a, 1, 0);
	assert_int_equal(channel_room(&p.a, 2, 0), 1);
	channel_unreserve(&p.a, PAIR_SLOTS - 3, 100);
	assert_int_equal(p.a.reserved_slots, 0);
	assert_int_equal(p.a.reserved_bytes, 0);
	/* all of the arena but what a wrap may waste can be promised, and every promise kept */
	while (channel_room(&p.a, 1, 8000) == 1) {
		channel_reserve(&p.a, 1, 8000);
		assert_true(p.a.reserved_bytes <= PAIR_ARENA - CHANNEL_PAYLOAD_MAX);
	}
	while (p.a.reserved_slots) {
		channel_unreserve(&p.a, 1, 8000);
		channel_payload_alloc(&p.a, 8000, &pos);
		assert_true(p.a.tx_arena_head - p.a.tx_arena_consumed <= PAIR_ARENA);
		push(&p.a, 1, 0);
	}
	pair_free(&p);
}

/* Payloads of all lengths over many laps of the arena, none of them across its end. */
static void arena(void **state)
{
	static uint8_t data[CHANNEL_PAYLOAD_MAX], got[CHANNEL_PAYLOAD_MAX];
	struct proto_msg m, r;
	struct pair p;
	unsigned sent = 0, seen = 0;

	(void)state;
	pair_make(&p);
	/* running positions overflow on the way */
	p.a.tx_arena_head = p.a.tx_arena_consumed = p.b.rx_arena_head = 0u - PAIR_ARENA * 2;
	((struct channel_header *)p.half[1])->consumed_bytes = p.a.tx_arena_head;
	for (unsigned i = 0; i < 500; i++) {
		memset(&m, 0, sizeof(m));
		m.opcode = OP_ECHO_ECHO;
		m.length = (i * 2657) % CHANNEL_PAYLOAD_MAX + 1;
		m.req_id = i;
		if (channel_room(&p.a, 1, m.length) == 1) {
			memset(data, (int)sent, m.length);
			m.req_id = sent++;
			pair_send(&p.a, &m, data);
		} else {
			i--;
		}
		if (i % 2 || channel_room(&p.a, 1, CHANNEL_PAYLOAD_MAX) != 1) {
			assert_true(pair_recv(&p.b, &r, got));
			assert_int_equal(r.req_id, seen);
			assert_int_equal(got[0], (uint8_t)seen);
			assert_int_equal(got[r.length - 1], (uint8_t)seen);
			seen++;
		}
	}
	while (pair_recv(&p.b, &r, got))
		seen++;
	assert_int_equal(seen, sent);
	assert_int_equal(sent, 500);
	pair_free(&p);
}

/* What the writer can do wrong. */
static void hostile_writer(void **state)
{
	uint8_t out[CHANNEL_RECORD_SLOTS * CHANNEL_SLOT];
	struct channel_slot *s;
	struct pair p;

	(void)state;
	/* a sequence word of no lap */
	static const uint32_t bad[] = {2, 3, 100, 0x80000001, 0xffffffff};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pair_make(&p);
		s = (struct channel_slot *)((uint8_t *)p.half[0] + CHANNEL_HEADER);
		s[0].seq = bad[i];
		assert_true(channel_pending(&p.b)); /* so that it is looked at, and found */
		assert_int_equal(channel_pop(&p.b, out), -EPROTO);
		pair_free(&p);
	}
	/* zero where the lap before must have written */
	pair_make(&p);
	for (unsigned i = 0; i < PAIR_SLOTS; i++)
		push(&p.a, 1, i);
	for (unsigned i = 0; i < PAIR_SLOTS; i++)
		assert_int_equal(channel_pop(&p.b, out), 1);
	assert_int_equal(channel_pop(&p.b, out), 0);
	s = (struct channel_slot *)((uint8_t *)p.half[0] + CHANNEL_HEADER);
	s[0].seq = 0;
	assert_int_equal(channel_pop(&p.b, out), -EPROTO);
	pair_free(&p);
	/* records of no slots, of too many, and one whose second slot was not committed */
	static const uint8_t counts[] = {0, 5, 255, 2, 4};

	for (unsigned i = 0; i < sizeof(counts); i++) {
		pair_make(&p);
		s = (struct channel_slot *)((uint8_t *)p.half[0] + CHANNEL_HEADER);
		s[0].body[3] = counts[i];
		s[0].seq = 1;
		assert_int_equal(channel_pop(&p.b, out), -EPROTO);
		pair_free(&p);
	}
	/* payload positions that cannot be */
	pair_make(&p);
	assert_null(channel_payload(&p.b, 0, 0));
	assert_null(channel_payload(&p.b, 0, CHANNEL_PAYLOAD_MAX + 1));
	assert_null(channel_payload(&p.b, 0, 0xffffffff));
	assert_null(channel_payload(&p.b, 8, 8));		 /* not aligned */
	assert_null(channel_payload(&p.b, PAIR_ARENA - 64, 65)); /* across the end */
	assert_null(channel_payload(&p.b, PAIR_ARENA, 8));	 /* a lap ahead */
	assert_null(channel_payload(&p.b, 0u - 64, 8));		 /* behind */
	assert_non_null(channel_payload(&p.b, 64, 8));
	assert_null(channel_payload(&p.b, 64, 8)); /* again */
	pair_free(&p);
}

/* What the reader can do wrong: counts that it cannot have reached. */
static void hostile_reader(void **state)
{
	struct channel_header *h;
	struct pair p;

	(void)state;
	pair_make(&p);
	h = p.half[1];
	push(&p.a, 1, 0);
	h->consumed_slots = 2;
	assert_int_equal(channel_refresh(&p.a), -EPROTO);
	h->consumed_slots = 0xffffffff;
	assert_int_equal(channel_refresh(&p.a), -EPROTO);
	h->consumed_slots = 1;
	assert_int_equal(channel_refresh(&p.a), 0);
	h->consumed_slots = 0; /* back */
	assert_int_equal(channel_refresh(&p.a), -EPROTO);
	h->consumed_slots = 1;
	h->consumed_bytes = 64;
	assert_int_equal(channel_refresh(&p.a), -EPROTO);
	/* it shows when room is wanted */
	for (unsigned i = 0; i < PAIR_SLOTS; i++)
		push(&p.a, 1, 0);
	assert_int_equal(channel_room(&p.a, 1, 0), -EPROTO);
	pair_free(&p);
}

static void sleeping(void **state)
{
	uint8_t out[CHANNEL_RECORD_SLOTS * CHANNEL_SLOT];
	struct pair p;

	(void)state;
	pair_make(&p);
	assert_false(channel_wants_wake(&p.a));
	assert_true(channel_sleep_begin(&p.b));
	push(&p.a, 1, 1);
	assert_true(channel_wants_wake(&p.a));
	channel_sleep_end(&p.b);
	assert_false(channel_wants_wake(&p.a));
	/* who has something to read does not fall asleep, and does not want to be woken */
	assert_false(channel_sleep_begin(&p.b));
	assert_false(channel_wants_wake(&p.a));
	assert_int_equal(channel_pop(&p.b, out), 1);
	assert_true(channel_sleep_begin(&p.b));
	channel_sleep_end(&p.b);
	/* nor who has nonsense to read */
	((struct channel_slot *)((uint8_t *)p.half[0] + CHANNEL_HEADER))[1].seq = 77;
	assert_false(channel_sleep_begin(&p.b));
	pair_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),	  cmocka_unit_test(laps),
		cmocka_unit_test(full),		  cmocka_unit_test(reservations),
		cmocka_unit_test(arena),	  cmocka_unit_test(hostile_writer),
		cmocka_unit_test(hostile_reader), cmocka_unit_test(sleeping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
