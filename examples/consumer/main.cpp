// explain_peak MODEL.onnx: which class a network sees in a picture, and where it looked, by Grad-CAM.
#include <cstdio>

#include "pellucid/attribution.h"
#include "pellucid/error.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: explain_peak MODEL.onnx\n");
    return 2;
  }
  try {
    using namespace pellucid;
    set_num_threads();
    const Network network(load_onnx(argv[1]));
    ModelCard card = guess_card(network.graph());
    fit_card(card, network.graph());

    // A bright square on grey stands in for a photo, in the display range 0..1.
    at::Tensor picture = at::full({1, card.channels(), card.height, card.width}, 0.5);
    picture.narrow(2, card.height / 4, card.height / 4).narrow(3, card.width / 2, card.width / 4).fill_(1.0);
    const Tensor input = card.model_from_display(picture);

    const LayerTable layers(network, {input.sizes().vec()});
    const Target target = Target::parse("top1");
    const ValueId logits = target_value(target, layers, network.graph());
    const BoundTarget bound(target, layers, card, logits, network.run({input}, {{logits}, {}, {}, {}}).at(logits));
    const Context context{network, layers, card, input, bound, {layers.default_cam_layer()}, 0, 16, nullptr, {}};
    const Tensor map = attribute(MethodCall::parse("grad-cam"), context).map[0];

    const int64_t peak = map.argmax().item<int64_t>();
    std::printf("%s; peak %.4g at row %lld, column %lld of %lldx%lld\n", bound.description(0).c_str(),
                map.max().item<double>(), static_cast<long long>(peak / map.size(1)),
                static_cast<long long>(peak % map.size(1)), static_cast<long long>(map.size(0)),
                static_cast<long long>(map.size(1)));
    return 0;
  } catch (const pellucid::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_status();
  }
}
