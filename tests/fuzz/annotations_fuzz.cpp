// Any bytes as a file of annotations, Pascal VOC's where they begin like XML and COCO's otherwise: what is understood
// of the photo must fit it.

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "pellucid/annotations.h"

namespace {

namespace fs = std::filesystem;
using namespace pellucid;

constexpr int kWidth = 64, kHeight = 48;

/// A folder of this process, gone when it ends.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("pellucid_fuzz_" + std::to_string(::getpid()))) {
    fs::create_directories(path_ / "voc");
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string write(const char* name, const uint8_t* data, size_t size) const {
    const fs::path file = path_ / name;
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    return file.string();
  }
  std::string voc() const { return (path_ / "voc").string(); }

 private:
  fs::path path_;
};

void look_up(const Annotations& annotations) {
  for (const Annotation& a : annotations.of("photo.jpg", kWidth, kHeight)) {
    if (a.mask.width != kWidth || a.mask.height != kHeight || a.mask.channels != 1) std::abort();
    if (!(a.box.width >= 0 && a.box.height >= 0)) std::abort();
  }
  const Image unknown = annotations.unknown("photo.jpg", kWidth, kHeight);
  if (unknown.width != 0 && (unknown.width != kWidth || unknown.height != kHeight)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  return fuzz::only_errors([&] {
    AnnotationLimits limits;
    limits.max_file_bytes = 1 << 20;
    limits.max_annotations = 10000;
    limits.image.max_pixels = 1 << 18;
    const bool xml = size > 0 && data[0] == '<';
    const std::string file = folder.write(xml ? "voc/photo.xml" : "coco.json", data, size);
    look_up(xml ? Annotations::open(folder.voc(), AnnotationFormat::kVoc, limits)
                : Annotations::open(file, AnnotationFormat::kCoco, limits));
  });
}
