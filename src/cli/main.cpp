#include "cli/cli.h"

int main(int argc, char** argv) { return pellucid::run_program(argc, argv); }
