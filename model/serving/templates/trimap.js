// A trimap as an array of 0, 128 and 255. A canvas would smooth what is painted on it.
const UNKNOWN = 128;
const TINTS = { 0: [240, 100, 0, 125], 128: [0, 0, 0, 0], 255: [0, 110, 255, 125] };
const STROKES = 50; // that can be undone

class Trimap {
  constructor(width, height) {
    Object.assign(this, { width, height, values: new Uint8Array(width * height).fill(UNKNOWN), past: [] });
  }

  whole() { return { left: 0, top: 0, right: this.width, bottom: this.height }; }

  // Foreground in the middle, background outside an ellipse, unknown between.
  circle() {
    for (let y = 0, at = 0; y < this.height; y += 1) {
      const down = (2 * y + 1) / this.height - 1;
      for (let x = 0; x < this.width; x += 1, at += 1) {
        const far = Math.hypot((2 * x + 1) / this.width - 1, down);
        this.values[at] = far < 0.4 ? 255 : far > 0.9 ? 0 : UNKNOWN;
      }
    }
    return this.whole();
  }

  begin() { this.before = this.values.slice(); this.touched = null; }

  // All pixels whose middle is at most `radius` from the line between two points; where something was painted.
  line(from, to, radius, value) {
    const rect = {
      left: Math.max(0, Math.floor(Math.min(from.x, to.x) - radius)), top: Math.max(0, Math.floor(Math.min(from.y, to.y) - radius)),
      right: Math.min(this.width, Math.ceil(Math.max(from.x, to.x) + radius) + 1), bottom: Math.min(this.height, Math.ceil(Math.max(from.y, to.y) + radius) + 1),
    };
    const along = { x: to.x - from.x, y: to.y - from.y };
    const length = along.x ** 2 + along.y ** 2;
    for (let y = rect.top; y < rect.bottom; y += 1) {
      for (let x = rect.left; x < rect.right; x += 1) {
        const apart = { x: x + 0.5 - from.x, y: y + 0.5 - from.y };
        const part = length ? Math.min(1, Math.max(0, (apart.x * along.x + apart.y * along.y) / length)) : 0;
        const far = (apart.x - part * along.x) ** 2 + (apart.y - part * along.y) ** 2;
        if (far <= radius ** 2) this.values[y * this.width + x] = value;
      }
    }
    this.mark(rect);
    return rect;
  }

  mark(rect) {
    const old = this.touched ?? rect;
    this.touched = {
      left: Math.min(old.left, rect.left), top: Math.min(old.top, rect.top),
      right: Math.max(old.right, rect.right), bottom: Math.max(old.bottom, rect.bottom),
    };
  }

  // Keep what stood where the stroke went, and no more.
  end() {
    const rect = this.touched;
    if (rect && rect.right > rect.left && rect.bottom > rect.top) {
      this.past.push({ rect, rows: this.rows(rect, this.before) });
      if (this.past.length > STROKES) this.past.shift();
    }
    this.before = null;
  }

  rows(rect, values) {
    const rows = [];
    for (let y = rect.top; y < rect.bottom; y += 1) rows.push(values.slice(y * this.width + rect.left, y * this.width + rect.right));
    return rows;
  }

  undo() {
    const last = this.past.pop();
    last?.rows.forEach((row, i) => this.values.set(row, (last.rect.top + i) * this.width + last.rect.left));
    return last?.rect;
  }

  // The pixels of a part as RGBA, by what `colours` has for each value.
  pixels(rect, colours) {
    const width = rect.right - rect.left;
    const image = new ImageData(width, rect.bottom - rect.top);
    this.rows(rect, this.values).forEach((row, y) => row.forEach((value, x) => image.data.set(colours[value], 4 * (y * width + x))));
    return image;
  }

  // A PNG of the three values.
  file() {
    const canvas = Object.assign(document.createElement('canvas'), { width: this.width, height: this.height });
    const greys = { 0: [0, 0, 0, 255], 128: [128, 128, 128, 255], 255: [255, 255, 255, 255] };
    canvas.getContext('2d').putImageData(this.pixels(this.whole(), greys), 0, 0);
    return new Promise(resolve => canvas.toBlob(resolve, 'image/png'));
  }
}
