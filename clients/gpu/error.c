/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and names of CUDA's errors, as its header has them, and what they mean. */
#include "clients/gpu/gpu.h"

static const struct {
	int code;
	const char *name, *text; /* text NULL: the name says it */
} errors[] = {
	{0, "cudaSuccess", "no error"},
	{1, "cudaErrorInvalidValue", "invalid argument"},
	{2, "cudaErrorMemoryAllocation", "out of memory"},
	{3, "cudaErrorInitializationError", "initialization error"},
	{4, "cudaErrorCudartUnloading", "driver shutting down"},
	{5, "cudaErrorProfilerDisabled", NULL},
	{6, "cudaErrorProfilerNotInitialized", NULL},
	{7, "cudaErrorProfilerAlreadyStarted", NULL},
	{8, "cudaErrorProfilerAlreadyStopped", NULL},
	{9, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
	{12, "cudaErrorInvalidPitchValue", NULL},
	{13, "cudaErrorInvalidSymbol", "invalid device symbol"},
	{16, "cudaErrorInvalidHostPointer", NULL},
	{17, "cudaErrorInvalidDevicePointer", "invalid device pointer"},
	{18, "cudaErrorInvalidTexture", NULL},
	{19, "cudaErrorInvalidTextureBinding", NULL},
	{20, "cudaErrorInvalidChannelDescriptor", NULL},
	{21, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
	{22, "cudaErrorAddressOfConstant", NULL},
	{23, "cudaErrorTextureFetchFailed", NULL},
	{24, "cudaErrorTextureNotBound", NULL},
	{25, "cudaErrorSynchronizationError", NULL},
	{26, "cudaErrorInvalidFilterSetting", NULL},
	{27, "cudaErrorInvalidNormSetting", NULL},
	{28, "cudaErrorMixedDeviceExecution", NULL},
	{31, "cudaErrorNotYetImplemented", NULL},
	{32, "cudaErrorMemoryValueTooLarge", NULL},
	{34, "cudaErrorStubLibrary", NULL},
	{35, "cudaErrorInsufficientDriver", NULL},
	{36, "cudaErrorCallRequiresNewerDriver", NULL},
	{37, "cudaErrorInvalidSurface", NULL},
	{43, "cudaErrorDuplicateVariableName", NULL},
	{44, "cudaErrorDuplicateTextureName", NULL},
	{45, "cudaErrorDuplicateSurfaceName", NULL},
	{46, "cudaErrorDevicesUnavailable", "all CUDA-capable devices are busy or unavailable"},
	{49, "cudaErrorIncompatibleDriverContext", NULL},
	{52, "cudaErrorMissingConfiguration", NULL},
	{53, "cudaErrorPriorLaunchFailure", NULL},
	{65, "cudaErrorLaunchMaxDepthExceeded", NULL},
	{66, "cudaErrorLaunchFileScopedTex", NULL},
	{67, "cudaErrorLaunchFileScopedSurf", NULL},
	{68, "cudaErrorSyncDepthExceeded", NULL},
	{69, "cudaErrorLaunchPendingCountExceeded", NULL},
	{98, "cudaErrorInvalidDeviceFunction", "invalid device function"},
	{100, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
	{101, "cudaErrorInvalidDevice", "invalid device ordinal"},
	{102, "cudaErrorDeviceNotLicensed", NULL},
	{103, "cudaErrorSoftwareValidityNotEstablished", NULL},
	{127, "cudaErrorStartupFailure", NULL},
	{200, "cudaErrorInvalidKernelImage", "device kernel image is invalid"},
	{201, "cudaErrorDeviceUninitialized", "invalid device context"},
	{205, "cudaErrorMapBufferObjectFailed", NULL},
	{206, "cudaErrorUnmapBufferObjectFailed", NULL},
	{207, "cudaErrorArrayIsMapped", NULL},
	{208, "cudaErrorAlreadyMapped", NULL},
	{209, "cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"},
	{210, "cudaErrorAlreadyAcquired", NULL},
	{211, "cudaErrorNotMapped", NULL},
	{212, "cudaErrorNotMappedAsArray", NULL},
	{213, "cudaErrorNotMappedAsPointer", NULL},
	{214, "cudaErrorECCUncorrectable", NULL},
	{215, "cudaErrorUnsupportedLimit", NULL},
	{216, "cudaErrorDeviceAlreadyInUse", NULL},
	{217, "cudaErrorPeerAccessUnsupported", NULL},
	{218, "cudaErrorInvalidPtx", "a PTX JIT compilation failed"},
	{219, "cudaErrorInvalidGraphicsContext", NULL},
	{220, "cudaErrorNvlinkUncorrectable", NULL},
	{221, "cudaErrorJitCompilerNotFound", NULL},
	{222, "cudaErrorUnsupportedPtxVersion", "the provided PTX was compiled with an unsupported toolchain"},
	{223, "cudaErrorJitCompilationDisabled", NULL},
	{224, "cudaErrorUnsupportedExecAffinity", NULL},
	{225, "cudaErrorUnsupportedDevSideSync", NULL},
	{226, "cudaErrorContained", NULL},
	{300, "cudaErrorInvalidSource", NULL},
	{301, "cudaErrorFileNotFound", NULL},
	{302, "cudaErrorSharedObjectSymbolNotFound", "shared object symbol not found"},
	{303, "cudaErrorSharedObjectInitFailed", NULL},
	{304, "cudaErrorOperatingSystem", NULL},
	{400, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
	{401, "cudaErrorIllegalState", NULL},
	{402, "cudaErrorLossyQuery", NULL},
	{500, "cudaErrorSymbolNotFound", "named symbol not found"},
	{600, "cudaErrorNotReady", "device not ready"},
	{700, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
	{701, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
	{702, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
	{703, "cudaErrorLaunchIncompatibleTexturing", NULL},
	{704, "cudaErrorPeerAccessAlreadyEnabled", NULL},
	{705, "cudaErrorPeerAccessNotEnabled", NULL},
	{708, "cudaErrorSetOnActiveProcess", NULL},
	{709, "cudaErrorContextIsDestroyed", NULL},
	{710, "cudaErrorAssert", "device-side assert triggered"},
	{711, "cudaErrorTooManyPeers", NULL},
	{712, "cudaErrorHostMemoryAlreadyRegistered", NULL},
	{713, "cudaErrorHostMemoryNotRegistered", NULL},
	{714, "cudaErrorHardwareStackError", NULL},
	{715, "cudaErrorIllegalInstruction", NULL},
	{716, "cudaErrorMisalignedAddress", "misaligned address"},
	{717, "cudaErrorInvalidAddressSpace", "operation not supported on global/shared address space"},
	{718, "cudaErrorInvalidPc", "invalid program counter"},
	{719, "cudaErrorLaunchFailure", "unspecified launch failure"},
	{720, "cudaErrorCooperativeLaunchTooLarge", "too many blocks in cooperative launch"},
	{721, "cudaErrorTensorMemoryLeak", NULL},
	{800, "cudaErrorNotPermitted", NULL},
	{801, "cudaErrorNotSupported", "operation not supported"},
	{802, "cudaErrorSystemNotReady", "system not yet initialized"},
	{803, "cudaErrorSystemDriverMismatch", NULL},
	{804, "cudaErrorCompatNotSupportedOnDevice", NULL},
	{805, "cudaErrorMpsConnectionFailed", NULL},
	{806, "cudaErrorMpsRpcFailure", NULL},
	{807, "cudaErrorMpsServerNotReady", NULL},
	{808, "cudaErrorMpsMaxClientsReached", NULL},
	{809, "cudaErrorMpsMaxConnectionsReached", NULL},
	{810, "cudaErrorMpsClientTerminated", NULL},
	{811, "cudaErrorCdpNotSupported", NULL},
	{812, "cudaErrorCdpVersionMismatch", NULL},
	{900, "cudaErrorStreamCaptureUnsupported", NULL},
	{901, "cudaErrorStreamCaptureInvalidated", NULL},
	{902, "cudaErrorStreamCaptureMerge", NULL},
	{903, "cudaErrorStreamCaptureUnmatched", NULL},
	{904, "cudaErrorStreamCaptureUnjoined", NULL},
	{905, "cudaErrorStreamCaptureIsolation", NULL},
	{906, "cudaErrorStreamCaptureImplicit", NULL},
	{907, "cudaErrorCapturedEvent", NULL},
	{908, "cudaErrorStreamCaptureWrongThread", NULL},
	{909, "cudaErrorTimeout", NULL},
	{910, "cudaErrorGraphExecUpdateFailure", NULL},
	{911, "cudaErrorExternalDevice", NULL},
	{912, "cudaErrorInvalidClusterSize", NULL},
	{913, "cudaErrorFunctionNotLoaded", NULL},
	{914, "cudaErrorInvalidResourceType", NULL},
	{915, "cudaErrorInvalidResourceConfiguration", NULL},
	{999, "cudaErrorUnknown", "unknown error"},
	{10000, "cudaErrorApiFailureBase", NULL},
};

static int find(int code)
{
	int low = 0, high = (int)(sizeof(errors) / sizeof(errors[0])) - 1;

	while (low <= high) {
		int mid = (low + high) / 2;

		if (errors[mid].code == code)
			return mid;
		if (errors[mid].code < code)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return -1;
}

const char *gpu_error_name(int code)
{
	int k = find(code);

	return k < 0 ? NULL : errors[k].name;
}

const char *gpu_error_text(int code)
{
	int k = find(code);

	if (k < 0)
		return NULL;
	return errors[k].text ? errors[k].text : errors[k].name;
}
