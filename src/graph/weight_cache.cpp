#include "graph/weight_cache.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

namespace pellucid {

namespace {

/// Programs that exchange weights (sanity checks) would otherwise collect them all.
constexpr int64_t kMostBytes = int64_t{512} << 20;

struct Key {
  const void* weight;
  std::string name;
  bool operator<(const Key& other) const { return std::tie(weight, name) < std::tie(other.weight, other.name); }
};

struct Entry {
  Tensor weight;  ///< Kept, so that its address stays its own.
  Tensor made;
  int64_t version = 0, used = 0;
};

}  // namespace

struct WeightCache::Impl {
  std::mutex mutex;
  std::map<Key, Entry> entries;
  int64_t bytes = 0, clock = 0;

  /// Forgets what was not used for the longest time.
  void make_room(int64_t wanted) {
    while (!entries.empty() && bytes + wanted > kMostBytes) {
      const auto oldest = std::min_element(entries.begin(), entries.end(),
                                           [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
      bytes -= static_cast<int64_t>(oldest->second.made.nbytes());
      entries.erase(oldest);
    }
  }
};

WeightCache::WeightCache() : impl_(std::make_unique<Impl>()) {}
WeightCache::~WeightCache() = default;

Tensor WeightCache::get(const Tensor& weight, const std::string& name,
                        const std::function<Tensor(const Tensor&)>& make) const {
  const Key key{weight.data_ptr(), name};
  const int64_t version = weight._version();
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  const auto found = impl_->entries.find(key);
  if (found != impl_->entries.end()) {
    Entry& entry = found->second;
    if (entry.version == version && entry.weight.sizes() == weight.sizes() &&
        entry.weight.strides() == weight.strides()) {
      entry.used = ++impl_->clock;
      return entry.made;
    }
    impl_->bytes -= static_cast<int64_t>(entry.made.nbytes());
    impl_->entries.erase(found);
  }
  Entry entry{weight, make(weight), version, ++impl_->clock};
  const auto size = static_cast<int64_t>(entry.made.nbytes());
  if (size > kMostBytes / 4) return entry.made;  // one dense layer would drive out all others
  impl_->make_room(size);
  impl_->bytes += size;
  return impl_->entries.emplace(key, std::move(entry)).first->second.made;
}

}  // namespace pellucid
