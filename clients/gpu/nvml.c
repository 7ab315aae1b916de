/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libnvidia-ml: the devices of this process as monitors ask for them. What a device of another node does not tell
 * (temperature, power, fans, who else uses it) is not supported; nothing is made up.
 *
 * The first question about a device opens a session there, as the first call of a CUDA program does: its memory
 * is what a program of this user could have.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "clients/gpu/gpu.h"

#define EXPORT __attribute__((visibility("default")))
#define NVML(signature)                                                                                                \
	EXPORT int signature;                                                                                          \
	EXPORT int signature

enum { /* nvmlReturn_t */
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	GPU_IS_LOST = 15,
	CUDA_VERSION = 13000,
	UUID_SIZE = 41, /* GPU-, 32 digits, 4 dashes, NUL */
	CLOCK_MEMORY = 2,
	CLOCKS = 4,
};

static unsigned held;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Handles are addresses in this array. */
static char handles[GPU_DEVICES_MAX];

NVML(nvmlInitWithFlags(unsigned flags))
{
	(void)flags;
	if (!gpu_count())
		return DRIVER_NOT_LOADED;
	pthread_mutex_lock(&lock);
	held++;
	pthread_mutex_unlock(&lock);
	return SUCCESS;
}

NVML(nvmlInit_v2(void))
{
	return nvmlInitWithFlags(0);
}

NVML(nvmlInit(void))
{
	return nvmlInitWithFlags(0);
}

NVML(nvmlShutdown(void))
{
	int rc = SUCCESS;

	pthread_mutex_lock(&lock);
	if (held)
		held--;
	else
		rc = UNINITIALIZED;
	pthread_mutex_unlock(&lock);
	return rc;
}

EXPORT const char *nvmlErrorString(int rc);
EXPORT const char *nvmlErrorString(int rc)
{
	switch (rc) {
	case SUCCESS:
		return "Success";
	case UNINITIALIZED:
		return "Uninitialized";
	case INVALID_ARGUMENT:
		return "Invalid Argument";
	case NOT_SUPPORTED:
		return "Not Supported";
	case NOT_FOUND:
		return "Not Found";
	case INSUFFICIENT_SIZE:
		return "Insufficient Size";
	case DRIVER_NOT_LOADED:
		return "Driver Not Loaded";
	case GPU_IS_LOST:
		return "GPU is lost";
	default:
		return "Unknown Error";
	}
}

/* ------------------------------------------------------------------ the system */

static int text(char *out, unsigned size, const char *value)
{
	if (!held)
		return UNINITIALIZED;
	if (!out)
		return INVALID_ARGUMENT;
	return snprintf(out, size, "%s", value) < (int)size ? SUCCESS : INSUFFICIENT_SIZE;
}

NVML(nvmlSystemGetDriverVersion(char *out, unsigned size))
{
	return text(out, size, "13.0-atoll");
}

NVML(nvmlSystemGetNVMLVersion(char *out, unsigned size))
{
	return text(out, size, "13.0-atoll");
}

NVML(nvmlSystemGetCudaDriverVersion_v2(int *version))
{
	if (!version)
		return INVALID_ARGUMENT;
	*version = CUDA_VERSION;
	return SUCCESS;
}

NVML(nvmlSystemGetCudaDriverVersion(int *version))
{
	return nvmlSystemGetCudaDriverVersion_v2(version);
}

/* ------------------------------------------------------------------ devices */

NVML(nvmlDeviceGetCount_v2(unsigned *n))
{
	if (!held)
		return UNINITIALIZED;
	if (!n)
		return INVALID_ARGUMENT;
	*n = gpu_count();
	return SUCCESS;
}

NVML(nvmlDeviceGetCount(unsigned *n))
{
	return nvmlDeviceGetCount_v2(n);
}

NVML(nvmlDeviceGetHandleByIndex_v2(unsigned k, void **device))
{
	if (!held)
		return UNINITIALIZED;
	if (!device || k >= gpu_count())
		return INVALID_ARGUMENT;
	*device = &handles[k];
	return SUCCESS;
}

NVML(nvmlDeviceGetHandleByIndex(unsigned k, void **device))
{
	return nvmlDeviceGetHandleByIndex_v2(k, device);
}

static int index_of(const void *device, unsigned *k)
{
	uintptr_t at = (uintptr_t)device - (uintptr_t)handles;

	if (!held)
		return UNINITIALIZED;
	if (at >= gpu_count())
		return INVALID_ARGUMENT;
	*k = (unsigned)at;
	return SUCCESS;
}

static int device_of(const void *device, struct gpu **g)
{
	int code = 0;
	unsigned k;
	int rc = index_of(device, &k);

	if (rc)
		return rc;
	*g = gpu_get(k, &code);
	return *g ? SUCCESS : GPU_IS_LOST;
}

NVML(nvmlDeviceGetIndex(const void *device, unsigned *k))
{
	return k ? index_of(device, k) : INVALID_ARGUMENT;
}

NVML(nvmlDeviceGetMinorNumber(const void *device, unsigned *k))
{
	return k ? index_of(device, k) : INVALID_ARGUMENT;
}

NVML(nvmlDeviceGetName(const void *device, char *out, unsigned size))
{
	struct gpu *g;
	int rc = device_of(device, &g);

	return rc ? rc : text(out, size, gpu_info(g)->name);
}

NVML(nvmlDeviceGetUUID(const void *device, char *out, unsigned size))
{
	const uint8_t *u;
	char uuid[UUID_SIZE];
	struct gpu *g;
	int rc = device_of(device, &g);

	if (rc)
		return rc;
	u = (const uint8_t *)gpu_info(g)->uuid;
	snprintf(uuid, sizeof(uuid), "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	return text(out, size, uuid);
}

struct memory {
	unsigned long long total, free, used;
};

struct memory_v2 {
	unsigned version;
	unsigned long long total, reserved, free, used;
};

NVML(nvmlDeviceGetMemoryInfo(const void *device, struct memory *m))
{
	uint64_t f = 0, t = 0;
	struct gpu *g;
	int rc = m ? device_of(device, &g) : INVALID_ARGUMENT;

	if (rc)
		return rc;
	if (gpu_memory(g, &f, &t))
		return GPU_IS_LOST;
	*m = (struct memory){t, f, t - f};
	return SUCCESS;
}

NVML(nvmlDeviceGetMemoryInfo_v2(const void *device, struct memory_v2 *m))
{
	struct memory v;
	int rc = m ? nvmlDeviceGetMemoryInfo(device, &v) : INVALID_ARGUMENT;

	if (!rc)
		*m = (struct memory_v2){m->version, v.total, 0, v.free, v.used};
	return rc;
}

NVML(nvmlDeviceGetCudaComputeCapability(const void *device, int *major, int *minor))
{
	struct gpu *g;
	int rc = major && minor ? device_of(device, &g) : INVALID_ARGUMENT;

	if (rc)
		return rc;
	*major = (int)gpu_info(g)->compute_major;
	*minor = (int)gpu_info(g)->compute_minor;
	return SUCCESS;
}

struct pci {
	char legacy[16];
	unsigned domain, bus, device, id, subsystem;
	char text[32];
};

NVML(nvmlDeviceGetPciInfo_v3(const void *device, struct pci *p))
{
	unsigned k;
	int rc = p ? index_of(device, &k) : INVALID_ARGUMENT;

	if (rc)
		return rc;
	*p = (struct pci){.bus = k + 1};
	snprintf(p->legacy, sizeof(p->legacy), "0000:%02X:00.0", (k + 1) & 0xff);
	snprintf(p->text, sizeof(p->text), "00000000:%02X:00.0", (k + 1) & 0xff);
	return SUCCESS;
}

static int clock_of(const void *device, unsigned kind, unsigned *mhz)
{
	struct gpu *g;
	int rc = mhz && kind < CLOCKS ? device_of(device, &g) : INVALID_ARGUMENT;

	if (!rc)
		*mhz = (kind == CLOCK_MEMORY ? gpu_info(g)->memory_clock_khz : gpu_info(g)->clock_khz) / 1000;
	return rc;
}

NVML(nvmlDeviceGetMaxClockInfo(const void *device, unsigned kind, unsigned *mhz))
{
	return clock_of(device, kind, mhz);
}

NVML(nvmlDeviceGetClockInfo(const void *device, unsigned kind, unsigned *mhz))
{
	return clock_of(device, kind, mhz);
}

/* What is not known of a device elsewhere. */
#define UNKNOWN(name)                                                                                                  \
	NVML(name(const void *device))                                                                                 \
	{                                                                                                              \
		unsigned k;                                                                                            \
		int rc = index_of(device, &k);                                                                         \
                                                                                                                       \
		return rc ? rc : NOT_SUPPORTED;                                                                        \
	}

UNKNOWN(nvmlDeviceGetUtilizationRates)
UNKNOWN(nvmlDeviceGetTemperature)
UNKNOWN(nvmlDeviceGetPowerUsage)
UNKNOWN(nvmlDeviceGetPowerManagementLimit)
UNKNOWN(nvmlDeviceGetEnforcedPowerLimit)
UNKNOWN(nvmlDeviceGetFanSpeed)
UNKNOWN(nvmlDeviceGetPerformanceState)
UNKNOWN(nvmlDeviceGetPersistenceMode)
UNKNOWN(nvmlDeviceGetComputeMode)
UNKNOWN(nvmlDeviceGetEccMode)
UNKNOWN(nvmlDeviceGetMigMode)
UNKNOWN(nvmlDeviceGetDisplayActive)
UNKNOWN(nvmlDeviceGetDisplayMode)
UNKNOWN(nvmlDeviceGetComputeRunningProcesses_v3)
UNKNOWN(nvmlDeviceGetGraphicsRunningProcesses_v3)
UNKNOWN(nvmlDeviceGetEncoderUtilization)
UNKNOWN(nvmlDeviceGetDecoderUtilization)
UNKNOWN(nvmlDeviceGetSerial)
UNKNOWN(nvmlDeviceGetVbiosVersion)
UNKNOWN(nvmlDeviceGetBrand)
