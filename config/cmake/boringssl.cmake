# Where BoringSSL comes from, as target millrace_boringssl, which the tls room alone links:
#   source  Debian's source package, built as it should be for a server (config/boringssl/build.sh), once for all build
#           folders, into MILLRACE_CACHE_DIR; where it cannot be had, a warning, and "system"
#   system  the shared libraries of android-libboringssl: a third of the speed of an ECDSA handshake
set(MILLRACE_BORINGSSL source CACHE STRING "source | system")
set_property(CACHE MILLRACE_BORINGSSL PROPERTY STRINGS source system)
if(DEFINED ENV{XDG_CACHE_HOME})
  set(millrace_cache_default $ENV{XDG_CACHE_HOME}/millrace)
else()
  set(millrace_cache_default $ENV{HOME}/.cache/millrace)
endif()
set(MILLRACE_CACHE_DIR ${millrace_cache_default} CACHE PATH "what is built once for all build folders")

# The version that this Debian has, installed or to be had.
function(millrace_boringssl_version out)
  execute_process(COMMAND apt-cache policy android-libboringssl-dev OUTPUT_VARIABLE policy ERROR_QUIET)
  if(policy MATCHES "Installed: ([0-9][^ \n]*)" OR policy MATCHES "Candidate: ([0-9][^ \n]*)")
    set(${out} ${CMAKE_MATCH_1} PARENT_SCOPE)
  else()
    set(${out} "" PARENT_SCOPE)
  endif()
endfunction()

# millrace_boringssl_from_source(<out>): the folder with include/ and lib/, or empty.
function(millrace_boringssl_from_source out)
  set(${out} "" PARENT_SCOPE)
  millrace_boringssl_version(version)
  if(NOT version)
    return()
  endif()
  set(prefix ${MILLRACE_CACHE_DIR}/boringssl-${version}-${CMAKE_SYSTEM_PROCESSOR})
  if(NOT EXISTS ${prefix}/lib/libssl.a)
    message(STATUS "BoringSSL ${version}: building it once, into ${prefix}")
    find_program(clang_c clang)  # makes the faster code of the two
    find_program(clang_cxx clang++)
    if(NOT clang_c OR NOT clang_cxx)
      set(clang_c cc)
      set(clang_cxx c++)
    endif()
    execute_process(COMMAND sh ${CMAKE_SOURCE_DIR}/config/boringssl/build.sh ${prefix} ${version} ${clang_c} ${clang_cxx}
                    RESULT_VARIABLE failed OUTPUT_VARIABLE log ERROR_VARIABLE log)
    if(failed)
      string(REGEX MATCH "[^\n]*\n?[^\n]*\n?[^\n]*\n?$" tail "${log}")
      message(STATUS "BoringSSL from source: ${tail}")
      return()
    endif()
  endif()
  set(${out} ${prefix} PARENT_SCOPE)
endfunction()

add_library(millrace_boringssl INTERFACE)
set(boringssl_prefix "")
if(MILLRACE_BORINGSSL STREQUAL "source")
  millrace_boringssl_from_source(boringssl_prefix)
  if(NOT boringssl_prefix)
    message(WARNING "BoringSSL's source package cannot be had or built (offline?): linking the system's "
                    "android-libboringssl instead, whose ECDSA handshakes are several times slower. "
                    "Configure again to try again; -DMILLRACE_BORINGSSL=system asks for this without the warning.")
  endif()
endif()
if(boringssl_prefix)
  target_include_directories(millrace_boringssl SYSTEM INTERFACE ${boringssl_prefix}/include)
  target_link_libraries(millrace_boringssl INTERFACE
    ${boringssl_prefix}/lib/libssl.a ${boringssl_prefix}/lib/libcrypto.a Threads::Threads)
else()
  find_path(BORINGSSL_INCLUDE openssl/base.h PATHS /usr/include/android NO_DEFAULT_PATH REQUIRED)
  set(boringssl_lib /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/android)
  find_library(BORINGSSL_SSL NAMES libssl.so libssl.so.0 PATHS ${boringssl_lib} NO_DEFAULT_PATH REQUIRED)
  find_library(BORINGSSL_CRYPTO NAMES libcrypto.so libcrypto.so.0 PATHS ${boringssl_lib} NO_DEFAULT_PATH REQUIRED)
  target_include_directories(millrace_boringssl SYSTEM INTERFACE ${BORINGSSL_INCLUDE})
  target_link_libraries(millrace_boringssl INTERFACE ${BORINGSSL_SSL} ${BORINGSSL_CRYPTO})
  target_link_options(millrace_boringssl INTERFACE LINKER:-rpath,${boringssl_lib})
endif()
