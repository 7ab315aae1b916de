/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a list of system calls; see stub.h. r12: the entry. */
#include "services/fork-pager/proc/stub.h"

#define SYS_futex 202
#define SYS_exit_group 231
#define SYS_rt_sigreturn 15
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1

	.text
	.balign 64
	.globl stub_begin
	.globl stub_end
	.type stub_begin, @function
	.hidden stub_begin
	.hidden stub_end
stub_begin:
next:
	mov STUB_OP(%r12), %r13d
	cmp $STUB_OP_ARRIVE, %r13d
	je arrive
	cmp $STUB_OP_WAIT, %r13d
	je wait
	cmp $STUB_OP_RETURN, %r13d
	je return
	mov STUB_NR(%r12), %rax
	mov STUB_ARG + 0(%r12), %rdi
	mov STUB_ARG + 8(%r12), %rsi
	mov STUB_ARG + 16(%r12), %rdx
	mov STUB_ARG + 24(%r12), %r10
	mov STUB_ARG + 32(%r12), %r8
	mov STUB_ARG + 40(%r12), %r9
	syscall
	cmp $STUB_OP_CLONE, %r13d
	jne done
	test %rax, %rax
	jnz done
	mov STUB_NEXT(%r12), %r12
	jmp next
done:
	mov %rax, STUB_RESULT(%r12)
	cmp $-4096, %rax
	jbe advance
	cmp $STUB_OP_OPTIONAL, %r13d
	je advance
	mov 80(%r12), %rax
	mov %r12, (%rax)
	mov $SYS_exit_group, %eax
	mov $125, %edi
	syscall
	ud2
advance:
	add $STUB_SIZE, %r12
	jmp next
arrive:
	mov STUB_ARG(%r12), %rdi
	lock incl (%rdi)
	mov $SYS_futex, %eax
	mov $FUTEX_WAKE, %esi
	mov $1, %edx
	syscall
	jmp advance
wait:
	mov STUB_ARG(%r12), %rdi
	cmpl $0, (%rdi)
	jne advance
	mov $SYS_futex, %eax
	mov $FUTEX_WAIT, %esi
	xor %edx, %edx
	xor %r10d, %r10d
	syscall
	jmp wait
return:
	mov STUB_ARG(%r12), %rsp
	mov $SYS_rt_sigreturn, %eax
	syscall
	ud2
stub_end:
	.section .note.GNU-stack, "", @progbits
