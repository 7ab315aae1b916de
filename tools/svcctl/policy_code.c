/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy page as a program for seccomp(2). The calls are looked at one after the other; the kernel runs
 * the program once for each call that it always allows and remembers, so their order costs nothing.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include "tools/svcctl/policy.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
enum { X32_BIT = 0x40000000 };
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "which architecture does the kernel call this one? see linux/audit.h"
#endif

struct out {
	struct sock_filter *code;
	unsigned n, max;
};

static void put(struct out *o, uint16_t op, uint8_t yes, uint8_t no, uint32_t k)
{
	if (o->n < o->max)
		o->code[o->n] = (struct sock_filter){op, yes, no, k};
	o->n++;
}

static void ret(struct out *o, uint32_t what)
{
	put(o, BPF_RET | BPF_K, 0, 0, what);
}

/* How many instructions one half of a condition takes. */
static unsigned half_len(uint32_t mask)
{
	return mask == 0 ? 0 : mask == UINT32_MAX ? 2 : 3;
}

static unsigned rule_len(const struct policy_rule *r)
{
	unsigned n = 1;

	for (unsigned i = 0; i < r->nconds; i++)
		n += half_len((uint32_t)r->cond[i].mask) + half_len((uint32_t)(r->cond[i].mask >> 32));
	return n;
}

/* @end: where to go on when it does not hold. */
static void half(struct out *o, uint32_t offset, uint32_t mask, uint32_t value, unsigned end)
{
	if (mask == 0)
		return;
	put(o, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
	if (mask != UINT32_MAX)
		put(o, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
	put(o, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)(end - o->n - 1), value);
}

static void rule(struct out *o, const struct policy_rule *r)
{
	unsigned end = o->n + rule_len(r);

	for (unsigned i = 0; i < r->nconds; i++) {
		const struct policy_cond *c = &r->cond[i];
		/* both supported architectures are little-endian */
		uint32_t at = (uint32_t)offsetof(struct seccomp_data, args) + 8u * c->arg;

		half(o, at, (uint32_t)c->mask, (uint32_t)c->value, end);
		half(o, at + 4, (uint32_t)(c->mask >> 32), (uint32_t)(c->value >> 32), end);
	}
	ret(o, r->refuse ? SECCOMP_RET_ERRNO | (uint32_t)r->refuse : SECCOMP_RET_ALLOW);
}

/* All rules of one call; each that does not hold goes on to the next. */
static int group(struct out *o, const struct policy *p, unsigned first)
{
	int call = p->rule[first].call;
	unsigned len = 1;

	for (unsigned i = first; i < p->nrules; i++)
		if (p->rule[i].call == call)
			len += rule_len(&p->rule[i]);
	if (len > UINT8_MAX)
		return -E2BIG;
	put(o, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)len, (uint32_t)call);
	for (unsigned i = first; i < p->nrules; i++)
		if (p->rule[i].call == call)
			rule(o, &p->rule[i]);
	ret(o, SECCOMP_RET_TRAP);
	return 0;
}

int policy_compile(const struct policy *p, struct sock_filter *code, unsigned max)
{
	struct out o = {.code = code, .max = max};

	put(&o, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	put(&o, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCH);
	ret(&o, SECCOMP_RET_KILL_PROCESS);
	put(&o, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
	put(&o, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_BIT);
	ret(&o, SECCOMP_RET_KILL_PROCESS);
#endif
	for (unsigned i = 0; i < p->nrules; i++) {
		bool done = false;

		for (unsigned j = 0; j < i && !done; j++)
			done = p->rule[j].call == p->rule[i].call;
		if (!done && group(&o, p, i))
			return -E2BIG;
	}
	ret(&o, SECCOMP_RET_TRAP);
	return o.n > o.max ? -E2BIG : (int)o.n;
}
