#include "http/header_map.h"
