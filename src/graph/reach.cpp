#include "graph/reach.h"

#include <ATen/Parallel.h>

#include <cstring>

namespace pellucid {

namespace {

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }

}  // namespace

Span Span::of(std::vector<int64_t> low, std::vector<int64_t> high, int64_t size) {
  Span span{std::move(low), std::move(high), {}, 1};
  for (size_t i = 0; i < span.low.size(); ++i) {
    // A stride beyond the kernel may leave out every changed position; one that is computed for nothing does no harm.
    span.low[i] = std::clamp<int64_t>(span.low[i], 0, size - 1);
    span.high[i] = std::clamp<int64_t>(span.high[i], span.low[i] + 1, size);
    span.length = std::max(span.length, span.high[i] - span.low[i]);
  }
  for (const int64_t l : span.low) span.start.push_back(std::min(l, size - span.length));
  return span;
}

Span Sliding::through(const Span& changed) const {
  std::vector<int64_t> low, high;
  for (size_t i = 0; i < changed.low.size(); ++i) {
    low.push_back(ceil_div(changed.low[i] + pad - extent + 1, stride));
    high.push_back(floor_div(changed.high[i] - 1 + pad, stride) + 1);
  }
  return Span::of(std::move(low), std::move(high), outputs);
}

std::vector<int64_t> Sliding::read_start(const Span& out) const {
  std::vector<int64_t> result;
  for (const int64_t s : out.start) result.push_back(s * stride - pad);
  return result;
}

Span united(const Span& a, const Span& b, int64_t size) {
  std::vector<int64_t> low, high;
  for (size_t i = 0; i < a.low.size(); ++i) {
    low.push_back(std::min(a.low[i], b.low[i]));
    high.push_back(std::max(a.high[i], b.high[i]));
  }
  return Span::of(std::move(low), std::move(high), size);
}

Tensor read_windows(const WindowRead& read) {
  const auto rows = static_cast<int64_t>(read.y.size());
  const int64_t channels = read.clean.size(1), map_height = read.clean.size(2), map_width = read.clean.size(3);
  TORCH_INTERNAL_ASSERT(read.clean.is_contiguous(at::MemoryFormat::ChannelsLast) && read.clean.device().is_cpu());
  Tensor result =
      at::empty({rows, channels, read.height, read.width}, read.clean.options(), at::MemoryFormat::ChannelsLast);
  const auto bytes = static_cast<int64_t>(read.clean.element_size()) * channels;  // of one position
  const Tensor outside = at::full({channels * read.width}, read.padding, read.clean.options());
  const auto* const padding = static_cast<const char*>(outside.data_ptr());
  const auto* const clean = static_cast<const char*>(read.clean.data_ptr());
  auto* const out = static_cast<char*>(result.data_ptr());
  const char* crops = nullptr;
  int64_t crop_height = 0, crop_width = 0;
  if (read.crops.defined()) {
    TORCH_INTERNAL_ASSERT(read.crops.is_contiguous(at::MemoryFormat::ChannelsLast));
    crops = static_cast<const char*>(read.crops.data_ptr());
    crop_height = read.crops.size(2);
    crop_width = read.crops.size(3);
  }
  at::parallel_for(0, rows * read.height, 64, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t row = line / read.height;
      const auto r = static_cast<size_t>(row);
      const int64_t y = read.y[r] + line % read.height;
      char* to = out + line * read.width * bytes;
      // Positions of the map from `from` on, `count` of them, at their place in this line.
      const auto copy = [&](const char* source, int64_t from, int64_t count) {
        if (count > 0) std::memcpy(to + (from - read.x[r]) * bytes, source, static_cast<size_t>(count * bytes));
      };
      const int64_t left = read.x[r], right = left + read.width;
      if (y < 0 || y >= map_height) {
        copy(padding, left, read.width);
        continue;
      }
      const int64_t first = std::clamp<int64_t>(0, left, right), last = std::clamp(map_width, left, right);
      copy(padding, left, first - left);
      copy(padding, last, right - last);
      int64_t paste = last, paste_end = last;
      if (crops && y >= read.crop_y[r] && y < read.crop_y[r] + crop_height) {
        paste = std::clamp(read.crop_x[r], first, last);
        paste_end = std::clamp(read.crop_x[r] + crop_width, first, last);
        const int64_t crop_line = row * crop_height + y - read.crop_y[r];
        if (paste_end > paste) {
          copy(crops + (crop_line * crop_width + paste - read.crop_x[r]) * bytes, paste, paste_end - paste);
        }
      }
      const char* const map_line = clean + y * map_width * bytes;
      copy(map_line + first * bytes, first, paste - first);
      copy(map_line + paste_end * bytes, paste_end, last - paste_end);
    }
  });
  return result;
}

}  // namespace pellucid
