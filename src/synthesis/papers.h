#pragma once

// Where parts and recipes come from. Full entries are in docs/bibliography.bib, which a test compares.

#include "pellucid/attribution.h"

namespace pellucid {

inline constexpr Paper kAlain2014{"alain2014", "Alain, Bengio",
                                  "What Regularized Auto-Encoders Learn from the Data-Generating Distribution", "JMLR",
                                  2014};
inline constexpr Paper kCarter2019{"carter2019", "Carter, Armstrong, Schubert, Johnson, Olah", "Activation Atlas",
                                   "Distill", 2019};
inline constexpr Paper kErhan2009{"erhan2009", "Erhan, Bengio, Courville, Vincent",
                                  "Visualizing Higher-Layer Features of a Deep Network",
                                  "TR 1341, Universite de Montreal", 2009};
inline constexpr Paper kGatys2015{"gatys2015", "Gatys, Ecker, Bethge",
                                  "Texture Synthesis Using Convolutional Neural Networks", "NeurIPS", 2015};
inline constexpr Paper kGatys2016{"gatys2016", "Gatys, Ecker, Bethge",
                                  "Image Style Transfer Using Convolutional Neural Networks", "CVPR", 2016};
inline constexpr Paper kGatys2017{"gatys2017", "Gatys, Ecker, Bethge, Hertzmann, Shechtman",
                                  "Controlling Perceptual Factors in Neural Style Transfer", "CVPR", 2017};
inline constexpr Paper kGoodfellow2015{"goodfellow2015", "Goodfellow, Shlens, Szegedy",
                                       "Explaining and Harnessing Adversarial Examples", "ICLR", 2015};
inline constexpr Paper kHuang2017{"huang2017", "Huang, Belongie",
                                  "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization", "ICCV",
                                  2017};
inline constexpr Paper kKingma2015{"kingma2015", "Kingma, Ba", "Adam: A Method for Stochastic Optimization", "ICLR",
                                   2015};
inline constexpr Paper kKurakin2017{"kurakin2017", "Kurakin, Goodfellow, Bengio",
                                    "Adversarial Examples in the Physical World", "ICLR Workshop", 2017};
inline constexpr Paper kLiu1989{"liu1989", "Liu, Nocedal",
                                "On the Limited Memory BFGS Method for Large Scale Optimization",
                                "Mathematical Programming", 1989};
inline constexpr Paper kMadry2018{"madry2018", "Madry, Makelov, Schmidt, Tsipras, Vladu",
                                  "Towards Deep Learning Models Resistant to Adversarial Attacks", "ICLR", 2018};
inline constexpr Paper kMahendran2015{"mahendran2015", "Mahendran, Vedaldi",
                                      "Understanding Deep Image Representations by Inverting Them", "CVPR", 2015};
inline constexpr Paper kMahendran2016{"mahendran2016", "Mahendran, Vedaldi",
                                      "Visualizing Deep Convolutional Neural Networks Using Natural Pre-Images", "IJCV",
                                      2016};
inline constexpr Paper kMordvintsev2015{"mordvintsev2015", "Mordvintsev, Olah, Tyka",
                                        "Inceptionism: Going Deeper into Neural Networks", "Google Research Blog",
                                        2015};
inline constexpr Paper kMoosavi2016{"moosavi2016", "Moosavi-Dezfooli, Fawzi, Frossard",
                                    "DeepFool: A Simple and Accurate Method to Fool Deep Neural Networks", "CVPR",
                                    2016};
inline constexpr Paper kNguyen2016{"nguyen2016", "Nguyen, Dosovitskiy, Yosinski, Brox, Clune",
                                   "Synthesizing the Preferred Inputs for Neurons in Neural Networks via Deep "
                                   "Generator Networks",
                                   "NeurIPS", 2016};
inline constexpr Paper kNguyen2017{"nguyen2017", "Nguyen, Clune, Bengio, Dosovitskiy, Yosinski",
                                   "Plug & Play Generative Networks: Conditional Iterative Generation of Images in "
                                   "Latent Space",
                                   "CVPR", 2017};
inline constexpr Paper kStanley2007{"stanley2007", "Stanley",
                                    "Compositional Pattern Producing Networks: A Novel Abstraction of Development",
                                    "Genetic Programming and Evolvable Machines", 2007};
inline constexpr Paper kMordvintsev2018{"mordvintsev2018", "Mordvintsev, Pezzotti, Schubert, Olah",
                                        "Differentiable Image Parameterizations", "Distill", 2018};
inline constexpr Paper kOlah2017{"olah2017", "Olah, Mordvintsev, Schubert", "Feature Visualization", "Distill", 2017};
inline constexpr Paper kOygaard2015{"oygaard2015", "Oygaard", "Visualizing GoogLeNet Classes", "auduno.com", 2015};
inline constexpr Paper kPortilla2000{"portilla2000", "Portilla, Simoncelli",
                                     "A Parametric Texture Model Based on Joint Statistics of Complex Wavelet "
                                     "Coefficients",
                                     "IJCV", 2000};
inline constexpr Paper kRisser2017{"risser2017", "Risser, Wilmot, Barnes",
                                   "Stable and Controllable Neural Texture Synthesis and Style Transfer Using "
                                   "Histogram Losses",
                                   "arXiv", 2017};
inline constexpr Paper kSimonyan2014{"simonyan2014", "Simonyan, Vedaldi, Zisserman",
                                     "Deep Inside Convolutional Networks: Visualising Image Classification Models and "
                                     "Saliency Maps",
                                     "ICLR Workshop", 2014};
inline constexpr Paper kTyka2016{"tyka2016", "Tyka", "Class Visualization with Bilateral Filters", "mtyka.github.io",
                                 2016};
inline constexpr Paper kYosinski2015{"yosinski2015", "Yosinski, Clune, Nguyen, Fuchs, Lipson",
                                     "Understanding Neural Networks Through Deep Visualization", "ICML DL Workshop",
                                     2015};
inline constexpr Paper kFel2023{
    "fel2023",
    "Fel, Boissin, Boutin, Picard, Novello, Colin, Linsley, Rousseau, Cadene, Goetschalckx, "
    "Gardes, Serre",
    "Unlocking Feature Visualization for Deeper Networks with Magnitude Constrained "
    "Optimization",
    "NeurIPS", 2023};
inline constexpr Paper kZoran2011{"zoran2011", "Zoran, Weiss",
                                  "From Learning Models of Natural Image Patches to Whole Image Restoration", "ICCV",
                                  2011};

}  // namespace pellucid
