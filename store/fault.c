/* SPDX-License-Identifier: MIT */
#include "fault.h"

void (*cs_fault_hook)(const char *where);
