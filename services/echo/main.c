/* SPDX-License-Identifier: Apache-2.0 */
#include "services/echo/echo.h"

int main(int argc, char **argv)
{
	return service_main(&echo_ops, argc, argv);
}
