#include "dataset/textures.h"

namespace pellucid::render {
namespace {

/// A number in [0, 1) of a lattice cell; `which` tells several of one cell apart.
double cell_number(double cell_x, double cell_y, uint64_t seed, uint64_t which = 0) {
  const auto ix = static_cast<uint64_t>(static_cast<int64_t>(cell_x));
  const auto iy = static_cast<uint64_t>(static_cast<int64_t>(cell_y));
  return static_cast<double>(hash64(hash64(hash64(seed + which) ^ ix) ^ iy) >> 11) * 0x1p-53;
}

double fractal(double x, double y, uint64_t seed, int octaves = 4) {
  double sum = 0, weight = 0.5, total = 0;
  for (int i = 0; i < octaves; ++i) {
    sum += weight * value_noise(x, y, seed + static_cast<uint64_t>(i));
    total += weight;
    x = 2.03 * x + 17.1;
    y = 2.03 * y + 5.7;
    weight *= 0.5;
  }
  return sum / total;
}

double frac(double x) { return x - std::floor(x); }
/// 0 to 1 and back to 0 over one unit, smoothly.
double wave(double x) { return 0.5 - 0.5 * sin_cos(2 * kPi * frac(x)).cos; }

/// The nearest of points scattered one to a cell, the distance to the border between the two nearest, and the nearest
/// one's cell and offset.
struct Cell {
  double nearest, border, cell_x, cell_y, dx, dy;
};
Cell scattered_cell(double x, double y, uint64_t seed, double irregular) {
  Cell found{1e9, 0, 0, 0, 0, 0};
  double second = 1e9;
  for (int j = -1; j <= 1; ++j) {
    for (int i = -1; i <= 1; ++i) {
      const double cx = std::floor(x) + i, cy = std::floor(y) + j;
      const double px = cx + 0.5 + irregular * (cell_number(cx, cy, seed, 0) - 0.5);
      const double py = cy + 0.5 + irregular * (cell_number(cx, cy, seed, 1) - 0.5);
      const double dx = x - px, dy = y - py;
      const double distance = std::sqrt(dx * dx + dy * dy);
      if (distance < found.nearest) {
        second = found.nearest;
        found = {distance, 0, cx, cy, dx, dy};
      } else if (distance < second) {
        second = distance;
      }
    }
  }
  found.border = second - found.nearest;
  return found;
}

Vec3 pick(const TextureStyle& s, double number) {
  return s.palette[static_cast<size_t>(std::min(3.0, std::floor(4 * clamp01(number))))];
}

Vec3 bricks(const TextureStyle& s, double x, double y) {
  const double row = std::floor(y);
  const double along = (x + 0.5 * (row - 2 * std::floor(row / 2))) / (1.6 + s.knob[0]);
  const double brick = std::floor(along);
  const double u = frac(along) * (1.6 + s.knob[0]), v = y - row;
  const double edge = std::min(std::min(u, 1.6 + s.knob[0] - u), std::min(v, 1 - v));
  const double tone = 0.75 + 0.5 * cell_number(brick, row, s.seed) - 0.25 * fractal(x * 6, y * 6, s.seed + 3, 2);
  return mix(s.palette[1], s.palette[0] * tone, smoothstep(0.05, 0.11, edge));
}

Vec3 wood(const TextureStyle& s, double x, double y) {
  const double bend = 1.6 * fractal(x * 0.16, y * 0.55, s.seed, 3);
  const double ring = y * 0.8 + 3.5 * bend;
  const double t = frac(ring);
  const double pore = fractal(x * 0.9, y * 14, s.seed + 9, 2);
  const Vec3 base = mix(s.palette[0], s.palette[1], 0.15 + 0.55 * smoothstep(0.0, 0.8, t) * smoothstep(1.0, 0.85, t));
  return base * (0.8 + 0.4 * pore);
}

Vec3 waves(const TextureStyle& s, double x, double y) {
  const double lift = (0.25 + 0.35 * s.knob[0]) * (wave(x * 0.31 + 0.4 * value_noise(x * 0.2, y * 0.3, s.seed)) - 0.5);
  const double t = frac(y * 0.8 + lift);
  return mix(mix(s.palette[0], s.palette[2], t), s.palette[1], smoothstep(0.72, 0.95, t));
}

Vec3 marble(const TextureStyle& s, double x, double y) {
  const double warp = 4.5 * fractal(x * 0.4, y * 0.4, s.seed, 5);
  const double vein = std::abs(2 * wave(x * 0.22 + warp) - 1);
  const double fine = std::abs(2 * fractal(x * 0.9 + 9, y * 0.9, s.seed + 20, 4) - 1);
  const Vec3 base = mix(s.palette[1], s.palette[2], 0.5 * fractal(x * 0.5, y * 0.5, s.seed + 40, 3));
  return mix(mix(s.palette[0], base, smoothstep(0.02, 0.5, vein)), s.palette[0], 0.4 * smoothstep(0.07, 0.0, fine));
}

Vec3 dots(const TextureStyle& s, double x, double y) {
  const double shift = s.knob[0] < 0.5 ? 0.5 * (std::floor(y) - 2 * std::floor(std::floor(y) / 2)) : 0.0;
  const double dx = frac(x + shift) - 0.5, dy = frac(y) - 0.5;
  const double radius = 0.22 + 0.2 * s.knob[1];
  const double inside = smoothstep(radius + 0.03, radius - 0.03, std::sqrt(dx * dx + dy * dy));
  const Vec3 ink = s.knob[2] < 0.5 ? s.palette[1] : pick(s, cell_number(std::floor(x + shift), std::floor(y), s.seed));
  return mix(s.palette[0], ink, inside);
}

Vec3 scales(const TextureStyle& s, double x, double y) {
  // Rows overlap: the arc of the lowest row that reaches a point covers the others.
  for (int k = 1; k >= -1; --k) {
    const double row = std::floor(y / 0.5) + k;
    const double shift = 0.5 * (row - 2 * std::floor(row / 2));
    const double dx = frac(x + shift) - 0.5, dy = y - 0.5 * row;
    const double distance = std::sqrt(dx * dx + dy * dy);
    if (dy < 0 || distance > 0.56) continue;
    const double tone = 0.8 + 0.4 * cell_number(std::floor(x + shift), row, s.seed);
    const Vec3 base = mix(s.palette[0], s.palette[2], smoothstep(0.1, 0.5, distance)) * tone;
    return mix(base, s.palette[1], smoothstep(0.46, 0.53, distance));
  }
  return s.palette[0] * 0.6;
}

Vec3 stripes(const TextureStyle& s, double x, double) {
  const double band = std::floor(x), u = frac(x);
  const double width = 0.35 + 0.3 * s.knob[0];
  const double inside = smoothstep(0.0, 0.05, u) * smoothstep(width + 0.05, width, u);
  return mix(s.palette[0], s.knob[1] < 0.5 ? s.palette[1] : pick(s, cell_number(band, 0, s.seed)), inside);
}

Vec3 weave(const TextureStyle& s, double x, double y) {
  const double cx = std::floor(x), cy = std::floor(y), u = x - cx - 0.5, v = y - cy - 0.5;
  const bool over = static_cast<int64_t>(cx + cy) % 2 == 0;
  const double across = over ? v : u, along = over ? u : v;
  const double round = std::sqrt(std::max(0.0, 1 - 4 * across * across * 0.9));
  const double bow = 1 - 1.4 * along * along;
  const double thread = 0.88 + 0.24 * wave(4 * across + 0.3 * along);
  return (over ? s.palette[0] : s.palette[1]) * (0.25 + 0.85 * round * bow * thread);
}

Vec3 cracked(const TextureStyle& s, double x, double y) {
  const double wx = x + 0.5 * value_noise(x * 2, y * 2, s.seed + 4),
               wy = y + 0.5 * value_noise(x * 2, y * 2, s.seed + 5);
  const Cell c = scattered_cell(wx, wy, s.seed, 0.95);
  const double tone =
      0.8 + 0.25 * cell_number(c.cell_x, c.cell_y, s.seed, 2) + 0.2 * fractal(x * 3, y * 3, s.seed + 8, 2);
  return mix(s.palette[0] * 0.5, s.palette[1] * tone, smoothstep(0.03, 0.10, c.border));
}

Vec3 foliage(const TextureStyle& s, double x, double y) {
  Vec3 color = s.palette[0] * 0.35;
  for (int layer = 0; layer < 3; ++layer) {
    const uint64_t seed = s.seed + static_cast<uint64_t>(10 * layer);
    const Cell c = scattered_cell(x + 3.7 * layer, y + 1.3 * layer, seed, 0.9);
    const SinCos turn = sin_cos(2 * kPi * cell_number(c.cell_x, c.cell_y, seed, 2));
    const double along = c.dx * turn.cos + c.dy * turn.sin, across = c.dy * turn.cos - c.dx * turn.sin;
    const double width = 0.24 * std::max(0.0, 1 - (along / 0.55) * (along / 0.55));
    const double leaf = smoothstep(width, width - 0.04, std::abs(across)) * (width > 0.02 ? 1 : 0);
    const double tone = (0.5 + 0.25 * layer) * (0.75 + 0.5 * cell_number(c.cell_x, c.cell_y, seed, 3));
    const Vec3 green = mix(s.palette[0], s.palette[1], cell_number(c.cell_x, c.cell_y, seed, 4)) * tone;
    color = mix(color, green * (1 - 0.4 * smoothstep(0.03, 0.0, std::abs(across))), leaf);
  }
  return color;
}

Vec3 cells(const TextureStyle& s, double x, double y) {
  const Cell c = scattered_cell(x, y, s.seed, 0.9);
  const Vec3 body = mix(s.palette[1], s.palette[2], smoothstep(0.1, 0.6, c.nearest));
  return mix(mix(s.palette[0], body, smoothstep(0.06, 0.22, c.border)), s.palette[3],
             smoothstep(0.16, 0.12, c.nearest));
}

/// Strokes laid over one another along a flowing direction; `paint` gives the color of the stroke of a cell.
template <class Direction, class Paint>
Vec3 strokes(double x, double y, uint64_t seed, double length, double width, int layers, Vec3 ground,
             Direction direction, Paint paint) {
  Vec3 color = ground;
  for (int layer = 0; layer < layers; ++layer) {
    const uint64_t own = seed + static_cast<uint64_t>(100 * layer);
    const double ox = x + 0.37 * layer, oy = y + 0.61 * layer;
    double highest = -1;
    Vec3 top = color;
    double cover = 0;
    for (int k = 0; k < 9; ++k) {
      const double cx = std::floor(ox) + k % 3 - 1, cy = std::floor(oy) + k / 3 - 1;
      const double px = cx + cell_number(cx, cy, own, 0), py = cy + cell_number(cx, cy, own, 1);
      const SinCos turn = direction(px, py);
      const double dx = ox - px, dy = oy - py;
      const double along = (dx * turn.cos + dy * turn.sin) / length, across = (dy * turn.cos - dx * turn.sin) / width;
      const double inside = 1 - along * along * along * along - across * across;
      const double height = cell_number(cx, cy, own, 2);
      if (inside <= 0 || height <= highest) continue;
      highest = height;
      const double bristle = 0.85 + 0.3 * value_noise(across * 4, along * 0.8, own + static_cast<uint64_t>(k));
      top = paint(cell_number(cx, cy, own, 3), px, py) * bristle;
      cover = smoothstep(0.0, 0.25, inside);
    }
    if (highest >= 0) color = mix(color, top, cover);
  }
  return color;
}

Vec3 brush_strokes(const TextureStyle& s, double x, double y) {
  const auto direction = [&](double px, double py) {
    return sin_cos(2 * kPi * (s.knob[0] + 0.9 * value_noise(px * 0.18, py * 0.18, s.seed + 7)));
  };
  const auto paint = [&](double number, double px, double py) {
    const double place = value_noise(px * 0.25, py * 0.25, s.seed + 8);
    return pick(s, 0.65 * place + 0.5 * number - 0.1);
  };
  return strokes(x, y, s.seed, 0.95, 0.28, 3, s.palette[2] * 0.7, direction, paint);
}

Vec3 swirls(const TextureStyle& s, double x, double y) {
  // Strokes around scattered centers.
  const auto direction = [&](double px, double py) {
    const Cell c = scattered_cell(px * 0.22, py * 0.22, s.seed + 5, 0.8);
    const double r = std::max(1e-6, c.nearest);
    return SinCos{c.dx / r, -c.dy / r};
  };
  const auto paint = [&](double number, double px, double py) {
    const Cell c = scattered_cell(px * 0.22, py * 0.22, s.seed + 5, 0.8);
    return mix(pick(s, wave(1.6 * c.nearest + 0.15 * number)), s.palette[1], 0.2 * number);
  };
  return strokes(x, y, s.seed, 0.9, 0.22, 3, s.palette[0] * 0.7, direction, paint);
}

Vec3 hatching(const TextureStyle& s, double x, double y) {
  const Vec3 paper = mix(s.palette[1], Vec3{0.9, 0.88, 0.82}, 0.6);
  const double shade = fractal(x * 0.12, y * 0.12, s.seed, 2);
  double ink = 0;
  for (int k = 0; k < 3; ++k) {
    const SinCos turn = sin_cos(0.35 + 1.05 * k + 0.2 * s.knob[0]);
    const double across = x * turn.cos + y * turn.sin, along = y * turn.cos - x * turn.sin;
    const double wobble = 0.25 * value_noise(along * 0.4, across * 0.8, s.seed + static_cast<uint64_t>(k));
    const double line = std::abs(frac(across * 1.7 + wobble) - 0.5);
    ink = std::max(ink, smoothstep(0.16, 0.08, line) * smoothstep(0.25 + 0.17 * k, 0.42 + 0.17 * k, shade + 0.1));
  }
  return mix(paper, s.palette[0] * 0.4, 0.9 * ink);
}

Vec3 mosaic(const TextureStyle& s, double x, double y) {
  const Cell c = scattered_cell(x, y, s.seed, 0.45);
  const Vec3 tile = pick(s, value_noise(c.cell_x * 0.35, c.cell_y * 0.35, s.seed + 6) * 0.8 +
                                0.2 * cell_number(c.cell_x, c.cell_y, s.seed, 3));
  const double tone = 0.7 + 0.6 * cell_number(c.cell_x, c.cell_y, s.seed, 4) + 0.25 * c.dx;
  return mix(Vec3{0.06, 0.055, 0.05}, tile * tone, smoothstep(0.06, 0.13, c.border));
}

Vec3 clouds(const TextureStyle& s, double x, double y) {
  const double warp = fractal(x * 0.4, y * 0.4, s.seed + 9, 3);
  const double t = fractal(x * 0.5 + 2 * warp, y * 0.7 + warp, s.seed, 5);
  return mix(s.palette[0], mix(s.palette[1], Vec3{0.95, 0.95, 0.95}, 0.4), smoothstep(0.35, 0.72, t));
}

Vec3 sand(const TextureStyle& s, double x, double y) {
  const double drift = 1.2 * fractal(x * 0.25, y * 0.25, s.seed, 3);
  const double ripple = wave(y * 0.9 + drift + 0.1 * value_noise(x, y, s.seed + 2));
  const double grain = cell_number(std::floor(x * 9), std::floor(y * 9), s.seed, 5);
  return mix(s.palette[0], s.palette[2], 0.35 + 0.4 * ripple) * (0.7 + 0.6 * grain);
}

Vec3 tartan(const TextureStyle& s, double x, double y) {
  const auto band = [&](double t, uint64_t way) {
    const double u = frac(t * 0.5);
    const double wide = smoothstep(0.0, 0.02, u) * smoothstep(0.4 + 0.02, 0.4, u);
    const double line = smoothstep(0.025, 0.015, std::abs(u - 0.7));
    return mix(mix(s.palette[0], s.palette[1], wide), s.palette[2 + way], line);
  };
  const bool warp = frac((x + y) * 3.5) < 0.5;
  return mix(band(x, 0), band(y, 1), warp ? 0.75 : 0.25);
}

Vec3 rings(const TextureStyle& s, double x, double y) {
  // Drops on water: rings around scattered centers, added up.
  double height = 0;
  for (int k = 0; k < 9; ++k) {
    const double cx = std::floor(x / 4) + k % 3 - 1, cy = std::floor(y / 4) + k / 3 - 1;
    const double dx = x - 4 * (cx + cell_number(cx, cy, s.seed, 0)), dy = y - 4 * (cy + cell_number(cx, cy, s.seed, 1));
    const double r = std::sqrt(dx * dx + dy * dy);
    height += smoothstep(4.0, 0.5, r) * (wave(r * (0.9 + 0.3 * s.knob[0])) - 0.5);
  }
  return mix(s.palette[0], s.palette[1], smoothstep(-0.45, 0.45, height));
}

Vec3 knit(const TextureStyle& s, double x, double y) {
  const double column = std::floor(x), u = frac(x) - 0.5;
  const double v = frac(y * 1.3 - 1.1 * std::abs(u));
  const double row = std::floor(y * 1.3 - 1.1 * std::abs(u));
  const double limb = smoothstep(0.5, 0.42, std::abs(u)) * smoothstep(0.0, 0.08, std::abs(u));
  const double round = std::sqrt(std::max(0.0, 1 - (2 * v - 1) * (2 * v - 1)));
  const double motif = value_noise(column * 0.35, row * 0.35, s.seed);
  const Vec3 yarn = motif > 0.55 ? s.palette[1] : s.palette[0];
  return yarn * (0.2 + 0.85 * limb * round);
}

Vec3 pebbles(const TextureStyle& s, double x, double y) {
  const Cell c = scattered_cell(x, y, s.seed, 0.8);
  const double dome = smoothstep(0.0, 0.35, c.border);
  const double light = 0.55 + 0.6 * clamp01(0.5 - 0.9 * (c.dx + c.dy));
  const Vec3 stone = mix(pick(s, cell_number(c.cell_x, c.cell_y, s.seed, 3)), Vec3{0.35, 0.33, 0.31}, 0.4);
  const double speckle = 0.85 + 0.3 * value_noise(x * 9, y * 9, s.seed + 4);
  return stone * (light * speckle * (0.08 + 0.92 * dome));
}

Vec3 zigzag(const TextureStyle& s, double x, double y) {
  const double t = y * 0.9 + (0.5 + 0.5 * s.knob[0]) * std::abs(2 * frac(x * 0.6) - 1);
  const double band = std::floor(t), u = frac(t);
  const double inside = smoothstep(0.0, 0.05, u) * smoothstep(0.55, 0.5, u);
  return mix(s.palette[0], s.knob[1] < 0.5 ? s.palette[1] : pick(s, cell_number(band, 1, s.seed)), inside);
}

Vec3 shards(const TextureStyle& s, double x, double y) {
  Vec3 color = mix(s.palette[1], Vec3{0.8, 0.8, 0.78}, 0.5);
  for (int layer = 0; layer < 2; ++layer) {
    const uint64_t seed = s.seed + static_cast<uint64_t>(10 * layer);
    const double zoom = layer == 0 ? 2.3 : 1.0;
    const Cell c = scattered_cell(zoom * x, zoom * y, seed, 0.8);
    const double angle = 2 * kPi * cell_number(c.cell_x, c.cell_y, seed, 2);
    double out = -1;  // how far outside the polygon, in units of its size
    for (int side = 0; side < 4; ++side) {
      const SinCos n = sin_cos(angle + side * kPi / 2 + 0.9 * cell_number(c.cell_x, c.cell_y, seed, 5 + side));
      out = std::max(out, c.dx * n.cos + c.dy * n.sin - 0.16 - 0.2 * cell_number(c.cell_x, c.cell_y, seed, 9 + side));
    }
    if (cell_number(c.cell_x, c.cell_y, seed, 4) < 0.75)
      color = mix(color, pick(s, cell_number(c.cell_x, c.cell_y, seed, 3)), smoothstep(0.02, -0.02, out));
  }
  return color;
}

Vec3 grass(const TextureStyle& s, double x, double y) {
  const auto direction = [&](double px, double py) {
    return sin_cos(kPi / 2 + 0.9 * (value_noise(px * 0.4, py * 0.4, s.seed + 7) - 0.5) +
                   0.8 * (cell_number(std::floor(px * 8), std::floor(py * 8), s.seed, 8) - 0.5));
  };
  const auto paint = [&](double number, double, double) {
    return mix(s.palette[0], s.palette[1], number) * (0.6 + 0.6 * number);
  };
  return strokes(x, y, s.seed, 1.0, 0.10, 6, s.palette[0] * 0.3, direction, paint);
}

Vec3 facets(const TextureStyle& s, double x, double y) {
  // Flat facets: squares cut along alternating diagonals.
  const double cx = std::floor(x), cy = std::floor(y), u = x - cx, v = y - cy;
  const bool falling = cell_number(cx, cy, s.seed, 1) < 0.5;
  const bool upper = falling ? u + v < 1 : u < v;
  const double number =
      0.7 * value_noise(cx * 0.4, cy * 0.4, s.seed + 3) + 0.3 * cell_number(cx, cy, s.seed, upper ? 2 : 3);
  return pick(s, number * 1.2 - 0.1) * (0.65 + 0.7 * cell_number(cx, cy, s.seed, upper ? 4 : 5));
}

}  // namespace

const std::vector<TextureKind>& texture_kinds() {
  static const std::vector<TextureKind> kinds{
      {"bricks", bricks, 8, true},    {"wood", wood, 6, false},          {"waves", waves, 8, false},
      {"marble", marble, 6, false},   {"dots", dots, 8, false},          {"scales", scales, 6, true},
      {"stripes", stripes, 9, false}, {"weave", weave, 10, false},       {"cracked", cracked, 7, false},
      {"foliage", foliage, 6, false}, {"cells", cells, 7, false},        {"brush-strokes", brush_strokes, 8, false},
      {"swirls", swirls, 12, false},  {"hatching", hatching, 10, false}, {"mosaic", mosaic, 10, false},
      {"clouds", clouds, 5, false},   {"sand", sand, 8, false},          {"tartan", tartan, 8, false},
      {"rings", rings, 12, false},    {"knit", knit, 9, true},           {"pebbles", pebbles, 8, false},
      {"zigzag", zigzag, 8, false},   {"shards", shards, 5, false},      {"grass", grass, 6, true},
      {"facets", facets, 7, false}};
  return kinds;
}

}  // namespace pellucid::render
