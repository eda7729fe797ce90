# LibTorch as packaged multiplies matrices with whatever libblas.so.3 is; on the reference one ResNet-50 is 16 times slower.
find_library(PELLUCID_BLAS NAMES libblas.so.3)
mark_as_advanced(PELLUCID_BLAS)
if(PELLUCID_BLAS)
  file(REAL_PATH ${PELLUCID_BLAS} PELLUCID_BLAS_REAL)
  if(PELLUCID_BLAS_REAL MATCHES "/blas/libblas\\.so")
    message(WARNING "libblas.so.3 is the reference BLAS (${PELLUCID_BLAS_REAL}); networks will run many times slower. "
      "Install an optimised one: apt-get install libopenblas0-openmp")
  else()
    message(STATUS "BLAS: ${PELLUCID_BLAS_REAL}")
  endif()
endif()
