# find_package(claviger) finds the client library beside this file:
#   claviger::claviger-static   for plug-ins: linked in, exporting nothing; two versions live in one process
#   claviger::claviger          the shared library, for tools
get_filename_component(_claviger_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET claviger::claviger-static)
  add_library(claviger::claviger-static STATIC IMPORTED)
  set_target_properties(claviger::claviger-static PROPERTIES
    IMPORTED_LOCATION "${_claviger_prefix}/lib/libclaviger.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_claviger_prefix}/include"
    INTERFACE_COMPILE_DEFINITIONS CLV_STATIC)
  if(UNIX AND NOT APPLE)
    set_property(TARGET claviger::claviger-static PROPERTY
      INTERFACE_LINK_LIBRARIES "-Wl,--exclude-libs,libclaviger.a;-Wl,--gc-sections;pthread;dl;m")
  endif()
endif()

if(NOT TARGET claviger::claviger AND EXISTS "${_claviger_prefix}/lib/libclaviger.so.0")
  add_library(claviger::claviger SHARED IMPORTED)
  set_target_properties(claviger::claviger PROPERTIES
    IMPORTED_LOCATION "${_claviger_prefix}/lib/libclaviger.so.0"
    IMPORTED_SONAME "libclaviger.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${_claviger_prefix}/include")
endif()
unset(_claviger_prefix)
