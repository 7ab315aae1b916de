/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of the PTX engine share
 *
 * text --lex, parse--> statements --lower--> instructions --link--> code of a module
 *
 * A register is one column of 32 slots of 64 bits, a slot for each lane; narrower values are kept
 * zero-extended. A predicate register is 32 bits, a lane each, in its first slot. A constant is a
 * column too, so that operands are read in one way: operand >= 0 is a register of the frame,
 * operand < 0 the constant ~operand.
 *
 * Lanes have their own program counter, frame and state. A group is the lanes at one counter in one
 * frame; an instruction runs for a group at once.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_PTX_INTERNAL_H
#define ATOLL_SERVICES_GPU_EXEC_PTX_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/gpu-exec/ptx/ptx.h"

#define PTX_LANES	  32u
#define PTX_VERSION_MAX	  95u /* what later versions add is refused by name, see lower.c */
#define PTX_BARRIERS	  16u
#define PTX_NONE	  INT32_MIN /* operand that is not there, or `_` */

enum ptx_type {
	T_NONE,
	T_PRED,
	T_B8,
	T_B16,
	T_B32,
	T_B64,
	T_B128,
	T_U8,
	T_U16,
	T_U32,
	T_U64,
	T_S8,
	T_S16,
	T_S32,
	T_S64,
	T_F16,
	T_BF16,
	T_F16X2,
	T_BF16X2,
	T_TF32,
	T_F32,
	T_F64,
	T_U16X2,
	T_S16X2,
	T_E4M3,
	T_E5M2,
	T_E4M3X2,
	T_E5M2X2,
	T_B1,
	T_S4,
	T_U4,
	T_TYPES
};

enum ptx_space {
	SP_GENERIC,
	SP_GLOBAL,
	SP_CONST,
	SP_SHARED,
	SP_LOCAL,
	SP_PARAM, /* of a kernel: read from the launch's parameter block */
	SP_FRAME, /* .param of functions and of calls: lies in the lane's local frame */
	SP_REG,
};

enum ptx_round { RND_NONE, RND_RN, RND_RZ, RND_RM, RND_RP, RND_RNA, RND_RNI, RND_RZI, RND_RMI, RND_RPI };

enum ptx_cmp {
	CMP_EQ,
	CMP_NE,
	CMP_LT,
	CMP_LE,
	CMP_GT,
	CMP_GE,
	CMP_EQU,
	CMP_NEU,
	CMP_LTU,
	CMP_LEU,
	CMP_GTU,
	CMP_GEU,
	CMP_NUM,
	CMP_NAN,
};

enum ptx_bool { BOOL_NONE, BOOL_AND, BOOL_OR, BOOL_XOR };

/* Base operations. The compiler translates those that it knows and leaves the rest to the handlers. */
enum ptx_op {
	OP_NONE,
	OP_MOV,
	OP_ADD,
	OP_SUB,
	OP_MUL, /* of floats */
	OP_MUL_LO,
	OP_MUL_HI,
	OP_MUL_WIDE,
	OP_MAD_LO,
	OP_MAD_HI,
	OP_MAD_WIDE,
	OP_DIV,
	OP_REM,
	OP_MIN,
	OP_MAX,
	OP_NEG,
	OP_ABS,
	OP_AND,
	OP_OR,
	OP_XOR,
	OP_NOT,
	OP_CNOT,
	OP_SHL,
	OP_SHR,
	OP_FMA,
	OP_SETP,
	OP_SELP,
	OP_CVT,
	OP_LD,
	OP_ST,
	OP_CVTA,
	OP_LOP3,
	OP_BFE,
	OP_BFI,
	OP_PRMT,
	OP_SHF,
	OP_SREG,
	OP_CLZ,
	OP_POPC,
	OP_BREV,
	OP_SQRT,
	OP_RCP,
	OP_RSQRT,
	OP_EX2,
	OP_LG2,
	OP_SIN,
	OP_COS,
	OP_TANH,
	OP_COPYSIGN,
	OP_PRED, /* and, or, xor, not, mov of predicates */
	OP_PACK, /* mov of a vector to a register, or back */
	OP_OTHER,
};

/* How an instruction is carried out. */
enum ptx_kind {
	K_PLAIN, /* run(), then the next */
	K_BRA,
	K_BRX,
	K_CALL,
	K_CALLI, /* through a register */
	K_RET,
	K_EXIT,
	K_SYNC,	 /* waits for the lanes of a member mask, then run() */
	K_BAR,
	K_YIELD, /* nanosleep: gives the turn away */
};

enum { BAR_SYNC, BAR_ARRIVE, BAR_POPC, BAR_AND, BAR_OR };
enum { SYNC_ONLY = 200 }; /* sub of bar.warp.sync: lanes meet at different places, too */

struct warp;
struct insn;

/* Carries out an instruction for the lanes of @mask. 0, or 1 after a fault. */
typedef int run_fn(struct warp *w, const struct insn *i, uint32_t mask);

struct insn {
	run_fn *run;
	int32_t o[6];	  /* operands; [0] is the destination, if any */
	const int32_t *x; /* further operands: vectors, fragments */
	int64_t imm;	  /* offset of an address, table of lop3, number of a barrier... */
	int32_t guard;	  /* predicate register, PTX_NONE */
	uint32_t target;  /* of a branch: index into the module's code */
	void *ref;	  /* function, branch table, call */
	uint32_t line;
	uint16_t op;
	uint8_t kind;
	uint8_t type, type2; /* of the operation; of the source (cvt), of the elements */
	uint8_t rnd, cmp, boolop;
	uint8_t space;
	uint8_t vec; /* elements of a vector: 1, 2, 4, 8 */
	uint8_t nx;
	uint8_t sub;	/* variant within the operation */
	bool guard_neg, ftz, sat, wide_shape;
	bool together; /* the lanes of a group at once, in order: not lane by lane */
	uint8_t regbits; /* of the destination register, where it may be wider than the type */
	uint16_t neg; /* bits of predicate operands that are negated */
};

struct symbol;

/* A place in memory that has to be known when the module is linked. */
struct variable {
	const char *name;
	uint8_t space;
	bool defined, weak, constant, common_shared;
	uint64_t size, align;
	uint64_t offset;  /* shared, local, frame: within its area */
	uint8_t *address; /* global, const */
	uint8_t *init;	  /* size bytes, or NULL: zeros */
	struct reloc *relocs;
	struct ptx_function *owner; /* of shared: declared in it */
	struct variable *next;
	bool dynamic_shared;
	bool used_by_many;
	struct ptx_function *first_user;
	unsigned line, source;
};

struct reloc {
	struct reloc *next;
	uint64_t at; /* in the variable's bytes */
	unsigned bytes;
	unsigned shift; /* of mask(): bits of the address that are taken */
	struct symbol *symbol;
	int64_t addend;
	bool generic;
};

struct call_arg {
	int32_t reg; /* register or constant; PTX_NONE: memory of the frame */
	uint32_t from, size;
};

struct call_site {
	struct ptx_function *callee; /* NULL: indirect */
	struct call_arg *args, *rets;
	unsigned arg_count, ret_count;
	int builtin; /* enum ptx_builtin */
};

struct branch_table {
	uint32_t *targets;
	unsigned count;
};

/* Why a function cannot run: what its text asks for that this machine has not. */
struct refusal {
	const struct ptx_function *function; /* whose text it is */
	unsigned source, line;
	char text[300]; /* a sentence */
};

struct formal {
	bool in_reg;
	int32_t reg;
	uint32_t offset, size, align;
	uint8_t type;
};

struct ptx_function {
	struct ptx_function_info info;
	struct ptx_module *module;
	struct ptx_function *next;
	bool defined, weak;
	unsigned line, source;
	struct formal *formals, *results;
	unsigned formal_count, result_count;
	uint32_t first, end; /* code */
	uint32_t registers;  /* of a frame, hidden ones included */
	uint32_t frame_bytes; /* local memory of a frame, 16-aligned */
	uint64_t shared_end;
	bool uses_common_shared, calls_indirect, has_calls;
	struct ptx_function **callees;
	unsigned callee_count, callee_room;
	uint8_t mark;
	int builtin;
	uint8_t *reg_types; /* enum ptx_type of each register */
	const struct refusal *refused; /* its own, or of what it calls; NULL: it can run */
	_Atomic uint64_t compiled_ns; /* for which it ran compiled for lanes */
	_Atomic bool grown; /* compiled for groups, or tried */
	_Atomic uint64_t interpreted; /* warp instructions so far, what it calls included */
};

/* Registers every frame has in front: whence it was called. */
enum { HIDDEN_RETURN_PC, HIDDEN_CALLER_FRAME, HIDDEN_CALLER_LOCAL, HIDDEN_CARRY, HIDDEN_REGISTERS };

struct arena {
	struct arena_chunk *chunks;
	size_t used;
	uint64_t total;
};

void *arena_alloc(struct arena *a, size_t size); /* zeroed; NULL: no memory */
void arena_free(struct arena *a);

struct constant_reloc {
	struct constant_reloc *next;
	uint32_t constant;
	struct symbol *symbol;
	int64_t addend;
	struct ptx_function *user;
	unsigned line, source;
};

struct ptx_module {
	struct ptx_machine *machine;
	struct arena arena;
	struct insn *code;
	uint32_t code_count, code_room;
	uint64_t *constants; /* values, then at link columns of 32 */
	uint32_t constant_count, constant_room;
	uint32_t *constant_index; /* hash of values to constants */
	uint32_t constant_index_size;
	uint64_t *columns;
	struct ptx_function *functions, **function_tail;
	unsigned function_count, defined_count;
	struct ptx_function **function_list;
	struct ptx_function **by_code; /* defined ones, then the rest */
	struct variable *variables, **variable_tail;
	struct ptx_variable *variable_list;
	unsigned variable_count;
	struct constant_reloc *constant_relocs;
	uint8_t *memory; /* all variables */
	uint64_t memory_size;
	bool memory_added;
	uint64_t common_shared;
	uint32_t const_bytes;
	uint8_t *handles; /* a byte a function: their addresses are the function pointers */
	struct ptx_module *next;
	struct jit_module *jit;
	pthread_mutex_t jit_lock;
	bool jit_tried;
};

/* ------------------------------------------------------------------------------ the machine */

struct range {
	uint64_t base, size;
	unsigned flags;
};

struct object { /* texture or surface */
	bool used, surface;
	struct ptx_texture texture;
};

struct heap;

struct ptx_machine {
	struct ptx_machine_config config;
	pthread_rwlock_t ranges_lock;
	struct range *ranges;
	unsigned range_count, range_room;
	_Atomic uint64_t ranges_epoch;
	pthread_mutex_t print_lock, heap_lock, objects_lock, pool_lock;
	struct heap *heap;
	struct object *objects;
	unsigned object_room;
	_Atomic uint64_t objects_epoch;
	pthread_cond_t pool_wake;
	pthread_t *threads;
	unsigned thread_count;
	struct grid *grids; /* that want workers */
	bool stopping;
	_Atomic(struct ptx_module *) modules;
	pthread_mutex_t modules_lock;
};

/* ------------------------------------------------------------------------------ running */

/* Kernels begin interpreted and are compiled when that has paid; lanes may change over anywhere. */
enum grid_jit { GRID_INTERPRETED, GRID_LATER, GRID_COMPILED };

struct grid {
	struct ptx_machine *machine;
	const struct ptx_function *function;
	struct ptx_module *module;
	const struct ptx_launch *launch;
	uint8_t *params;
	uint32_t param_bytes;
	uint32_t shared_static, shared_total, shared_dynamic_at;
	uint64_t local_bytes; /* a thread */
	uint32_t threads, warps;
	uint64_t blocks;
	_Atomic uint64_t next_block;
	atomic_int stop; /* a fault, or cancelled */
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct ptx_fault fault;
	unsigned helpers, helpers_max; /* under the pool's lock */
	struct grid *next;
	uint64_t grid_id;
	_Alignas(16) uint8_t workspace[64]; /* of grid-wide barriers, see %envreg1 */
	_Atomic uint64_t instructions;
	_Atomic uint8_t jit; /* enum grid_jit */
	bool grows; /* may be compiled for groups, too */
	uint64_t jit_at; /* a worker that has interpreted so much has the kernel compiled */
};

struct barrier {
	uint32_t arrived;  /* by bar.arrive: no lanes that wait */
	uint32_t waiting;  /* lanes */
	uint32_t expected; /* 0: all */
	uint32_t count_true;
	bool all_true;
};

struct jit_env;

struct block {
	struct grid *grid;
	uint32_t ctaid[3];
	uint8_t *shared;
	uint8_t *local;
	uint64_t local_size;
	struct warp *warps;
	uint32_t live; /* threads */
	uint32_t warp_count;
	bool recheck; /* threads have gone: a barrier may be complete */
	struct jit_env *env; /* what compiled code is given, during a turn of it */
	struct barrier barriers[PTX_BARRIERS];
	struct worker *worker;
};

enum lane_state { LANE_RUN, LANE_SYNC, LANE_BAR, LANE_EXIT, LANE_STATES };

struct jit_site;

struct worker {
	struct grid *grid;
	/* The ranges last used: base, end; valid while the epoch stands. */
	uint64_t epoch;
	struct range hot[2];
	uint64_t instructions;
	uint32_t tick;
	struct jit_site *sites; /* of compiled code, valid while the epoch stands */
	uint32_t sites_count;
	uint64_t sites_epoch;
	/* The object last used; valid while the epoch stands. */
	uint64_t objects_epoch, object_handle;
	struct object object;
};

/* The compiler's code knows the head of this by its offsets: see jit.c. */
struct warp {
	uint64_t *regs; /* all frames */
	uint64_t *frame; /* of the group that runs */
	const uint64_t *columns;
	struct block *block;
	struct worker *worker;
	uint8_t *local_frame0; /* local memory of lane 0 at the group's frame */
	uint64_t local_stride;
	struct grid *grid;
	uint64_t frames_room; /* in registers */
	uint32_t index;
	uint32_t present; /* lanes that there are */
	uint32_t exited;
	uint32_t skip; /* lanes that had a long turn */
	uint32_t group_local; /* offset of the group's frame in a lane's local memory */
	uint32_t group_frame;
	bool recheck, yielded;
	/*
	 * All lanes that are left are at `at`, in the group's frame, and all run or all wait at the plain barrier
	 * flat_bar. While that is so, bar, pc, fb and lb say nothing: warp_spread writes them.
	 */
	bool flat;
	bool whole; /* they have been together since the block began: what is the same by the way it is made is */
	uint8_t flat_bar;
	uint32_t at;
	uint32_t in[LANE_STATES]; /* lanes in each state */
	uint8_t bar[PTX_LANES];
	uint32_t pc[PTX_LANES];
	uint32_t fb[PTX_LANES];
	uint32_t lb[PTX_LANES];
	uint32_t tid[3][PTX_LANES];
};

static inline uint64_t *op_col(const struct warp *w, int32_t o)
{
	return o >= 0 ? w->frame + (size_t)o * PTX_LANES
		      : (uint64_t *)(uintptr_t)w->columns + (size_t)~o * PTX_LANES;
}

#define FOR_LANES(mask, l)                                                                         \
	for (uint32_t l##_m = (mask), l; l##_m && ((l = (uint32_t)__builtin_ctz(l##_m)), true);    \
	     l##_m &= l##_m - 1)

/* Ends the grid with a fault of lane @l. Always 1. */
int warp_fault(struct warp *w, const struct insn *i, uint32_t l, int code, uint64_t address,
	       const char *format, ...) __attribute__((format(printf, 6, 7)));

/*
 * The host address of an access, checked; NULL after a fault. @bytes is a power of two up to 32.
 * @at: address within @space.
 */
uint8_t *mem_at(struct warp *w, const struct insn *i, uint32_t l, unsigned space, uint64_t at,
		unsigned bytes, bool write);
/* Any length and alignment, nothing said of a fault: for strings of builtins. */
uint8_t *mem_peek(struct warp *w, uint64_t at, uint64_t bytes, bool write);
/* How many bytes may be read at @at; 0: none. */
uint64_t mem_extent(struct warp *w, uint64_t at);

bool machine_range_find(struct ptx_machine *m, uint64_t at, uint64_t bytes, struct range *found);

void *heap_alloc(struct ptx_machine *m, uint64_t size);
int heap_free(struct ptx_machine *m, uint64_t address); /* -EINVAL: was not allocated */
void heap_destroy(struct ptx_machine *m);

enum ptx_builtin {
	BUILTIN_NONE,
	BUILTIN_VPRINTF,
	BUILTIN_ASSERTFAIL,
	BUILTIN_MALLOC,
	BUILTIN_FREE,
};
int builtin_find(const char *name);
/* Carries out a call of a builtin; arguments and result lie in frames or registers. */
int builtin_call(struct warp *w, const struct insn *i, uint32_t mask);

/* Runs blocks of @grid until there are none. */
void grid_work(struct grid *grid);

extern const char *const type_names[T_TYPES];
unsigned type_bytes(unsigned type);
bool type_signed(unsigned type);
bool type_float(unsigned type);

/* half.c: conversions between formats, bit patterns in and out */
uint16_t half_from_double(double v, unsigned rnd); /* rounds once */
uint16_t bf16_from_double(double v, unsigned rnd);
uint32_t tf32_from_float(float v, unsigned rnd);
uint8_t fp8_from_double(double v, bool e5m2);
float half_to_float(uint16_t h);
float bf16_to_float(uint16_t h);
float fp8_to_float(uint8_t b, bool e5m2);
/* a + b, with the last bit set if that was not exact: may then be rounded to fewer bits once. */
double add_odd(double a, double b);

/* float.c: functions of one value, the same for both executors */
float unary_f32(unsigned op, float x);
double unary_f64(unsigned op, double x);
/* a * b + c rounded once in a directed mode (RND_RZ, RND_RM, RND_RP), without the processor's. */
float fma_f32_directed(float a, float b, float c, unsigned rnd);
float min_f32(float a, float b);
float max_f32(float a, float b);
double min_f64(double a, double b);
double max_f64(double a, double b);

#endif
