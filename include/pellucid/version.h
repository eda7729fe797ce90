#pragma once

#define PELLUCID_VERSION "0.1.0"
