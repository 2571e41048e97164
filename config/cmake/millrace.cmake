# Build vocabulary: one function per kind of target, so that a room's CMakeLists.txt is one call.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(millrace_flags INTERFACE)
target_compile_options(millrace_flags INTERFACE -Wall -Wextra -Werror -fno-omit-frame-pointer)
target_include_directories(millrace_flags INTERFACE ${CMAKE_SOURCE_DIR}/userspace ${CMAKE_SOURCE_DIR}/include)
if(MILLRACE_SANITIZE STREQUAL "address")
  # UBSan's vptr check asks the kernel by pipe() whether memory may be read, and reports good objects when descriptors
  # have run out, as some tests make them.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(MILLRACE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()
if(MILLRACE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined)
  add_link_options(-fsanitize=address,undefined)
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# millrace_room(<name> [DEPENDS <targets>]): static library millrace_<name> from every .cc of the folder.
function(millrace_room name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  add_library(millrace_${name} STATIC ${sources})
  target_link_libraries(millrace_${name} PUBLIC millrace_flags ${ARG_DEPENDS})
endfunction()

# millrace_unit_tests(<room> [DEPENDS <targets>]): one gtest program unit_<room> from every *_test.cc of the folder.
function(millrace_unit_tests room)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(unit_${room} ${sources})
  target_link_libraries(unit_${room} PRIVATE millrace_flags ${ARG_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_include_directories(unit_${room} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  add_test(NAME unit_${room} COMMAND unit_${room} --gtest_brief=1)
  set_tests_properties(unit_${room} PROPERTIES TIMEOUT 300 LABELS unit SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
endfunction()

find_program(MILLRACE_BPF_CLANG NAMES clang clang-14 clang-15 clang-16 REQUIRED)
find_program(MILLRACE_BPFTOOL bpftool PATHS /usr/sbin /usr/local/sbin REQUIRED)

# millrace_bpf(<name>): compiles <name>.bpf.c of the folder for the BPF target and generates skel/<name>.skel.h, which
# carries the object's bytes. Target millrace_bpf_<name>. No compile option of the daemon reaches it, so every preset,
# sanitizers included, loads the same programs.
function(millrace_bpf name)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${name}.bpf.c)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  set(skeleton ${CMAKE_BINARY_DIR}/bpf/skel/${name}.skel.h)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bpf/skel)
  # The BPF target does not know the host's multiarch folder, where <asm/types.h> is.
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${MILLRACE_BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror
            -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR}/bpf
            -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -MD -MT ${object} -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "BPF ${name}")
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND sh -c "\"$1\" gen skeleton \"$2\" name ${name}_bpf > \"$3.new\" && mv \"$3.new\" \"$3\""
            bpftool ${MILLRACE_BPFTOOL} ${object} ${skeleton}
    DEPENDS ${object} VERBATIM COMMENT "BPF skeleton ${name}")
  add_custom_target(millrace_bpf_${name} DEPENDS ${skeleton})
endfunction()
