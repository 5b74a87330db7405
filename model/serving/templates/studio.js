// The page at work: a photograph comes in, a trimap is painted over it, the server mattes.
const part = id => document.getElementById(id);
const stage = part('stage'), photo = part('photo'), tint = part('tint'), brush = part('brush'), shown = part('shown');
let file, trimap, last, cursor, urls = {};

function say(text, bad = false) {
  part('status').textContent = text;
  part('status').classList.toggle('bad', bad);
}

function draw(rect) {
  if (rect && rect.right > rect.left && rect.bottom > rect.top) {
    tint.getContext('2d').putImageData(trimap.pixels(rect, TINTS), rect.left, rect.top);
  }
  part('undo').disabled = !trimap.past.length;
}

// ---- the photograph

async function take(chosen) {
  if (!chosen) return;
  if (chosen.size > LIMITS.bytes) return say(`${chosen.name} is larger than ${Math.floor(LIMITS.bytes / 1e6)} MB: save it smaller`, true);
  const url = URL.createObjectURL(chosen);
  const probe = new Image();
  probe.src = url;
  try { await probe.decode(); } catch { return say(`${chosen.name} is no picture that this browser shows: save it as JPEG or PNG`, true); }
  const { naturalWidth: width, naturalHeight: height } = probe;
  if (width * height > LIMITS.pixels) return say(`${chosen.name} has ${width} x ${height} pixels: scale it down to ${LIMITS.pixels / 1e6} megapixels`, true);
  URL.revokeObjectURL(photo.src);
  photo.src = url;
  await photo.decode();
  begin(chosen, width, height);
}

function begin(chosen, width, height) {
  file = chosen;
  trimap = new Trimap(width, height);
  Object.assign(tint, { width, height });
  cursor = { x: width / 2, y: height / 2 };
  for (const each of [photo, tint]) each.hidden = false;
  stage.classList.remove('empty');
  for (const id of ['circle', 'unknown', 'matte']) part(id).disabled = false;
  place();
  draw(trimap.whole());
  forget();
  say(`${chosen.name}, ${width} x ${height}`);
}

function forget() {
  Object.values(urls).forEach(URL.revokeObjectURL);
  urls = {};
  part('views').disabled = part('downloads').hidden = shown.hidden = true;
  part('result').classList.add('empty');
}

part('file').addEventListener('change', event => { take(event.target.files[0]); event.target.value = ''; });
for (const kind of ['dragover', 'drop', 'dragleave']) {
  window.addEventListener(kind, event => {
    event.preventDefault();
    stage.classList.toggle('over', kind === 'dragover');
    if (kind === 'drop') take(event.dataTransfer.files[0]);
  });
}

// ---- painting

const value = () => Number(document.querySelector('[name=brush]:checked').value);
const scale = () => trimap.width / photo.getBoundingClientRect().width; // pixels of the photograph to one of the screen
const radius = () => Number(part('size').value) / 2 * scale();

function place() {
  const room = stage.getBoundingClientRect(), box = photo.getBoundingClientRect();
  Object.assign(tint.style, { width: `${box.width}px`, height: `${box.height}px` });
  Object.assign(brush.style, {
    left: `${box.left - room.left + cursor.x / scale()}px`, top: `${box.top - room.top + cursor.y / scale()}px`,
    width: `${part('size').value}px`, height: `${part('size').value}px`,
  });
}

function at(event) {
  const box = photo.getBoundingClientRect();
  return { x: (event.clientX - box.left) * scale(), y: (event.clientY - box.top) * scale() };
}

function put(down) {
  if (down === Boolean(last)) return;
  brush.classList.toggle('down', down);
  if (down) {
    trimap.begin();
    last = cursor;
    draw(trimap.line(last, cursor, radius(), value()));
  } else {
    trimap.end();
    last = null;
    draw();
  }
}

function move(to) {
  cursor = to;
  brush.hidden = false;
  if (last) {
    draw(trimap.line(last, cursor, radius(), value()));
    last = cursor;
  }
  place();
}

tint.addEventListener('pointerdown', event => {
  if (!event.isPrimary || event.button) return;
  tint.setPointerCapture(event.pointerId);
  put(false);
  move(at(event));
  put(true);
});
tint.addEventListener('pointermove', event => {
  if (!event.isPrimary) return;
  const every = event.getCoalescedEvents?.() ?? [];
  (every.length ? every : [event]).forEach(each => move(at(each)));
});
for (const kind of ['pointerup', 'pointercancel']) tint.addEventListener(kind, event => event.isPrimary && put(false));
tint.addEventListener('pointerleave', () => { if (!last) brush.hidden = document.activeElement !== stage; });
stage.addEventListener('focus', () => { if (trimap) { brush.hidden = false; place(); } });
stage.addEventListener('blur', () => { if (trimap) { put(false); brush.hidden = true; } });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
stage.addEventListener('keydown', event => {
  if (!trimap || event.ctrlKey || event.metaKey) return;
  const arrow = ARROWS[event.key], step = (event.shiftKey ? 40 : 8) * scale();
  if (arrow) {
    move({
      x: Math.min(trimap.width, Math.max(0, cursor.x + step * arrow[0])), y: Math.min(trimap.height, Math.max(0, cursor.y + step * arrow[1])),
    });
  } else if (event.key === ' ') put(!last);
  else if (event.key === 'Enter') matte();
  else return;
  event.preventDefault();
});

const BRUSHES = { f: 255, u: 128, b: 0 };
document.addEventListener('keydown', event => {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === 'z') { event.preventDefault(); undo(); }
  } else if (key in BRUSHES) document.querySelector(`[name=brush][value="${BRUSHES[key]}"]`).checked = true;
  else if (key === '[' || key === ']') resize(key === ']' ? 1.25 : 0.8);
});

function resize(factor) {
  part('size').value = Math.round(Number(part('size').value) * factor + (factor > 1 ? 1 : -1));
  if (trimap) place();
}

function undo() {
  if (trimap && !last) draw(trimap.undo());
}

// A start can be undone, as a stroke can.
function start(fill) {
  trimap.begin();
  trimap.mark(fill());
  trimap.end();
  draw(trimap.whole());
}

part('undo').addEventListener('click', undo);
part('circle').addEventListener('click', () => start(() => trimap.circle()));
part('unknown').addEventListener('click', () => start(() => { trimap.values.fill(UNKNOWN); return trimap.whole(); }));
part('size').addEventListener('input', () => trimap && place());
window.addEventListener('resize', () => trimap && place());

// ---- matting

const base64 = blob => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

async function ask(body) {
  for (;;) {
    const answer = await fetch('matte', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
    const found = await answer.json();
    if (answer.ok) return found;
    if (answer.status !== 503) throw new Error(found.error);
    say('Another picture is being matted: waiting for it ...');
    await pause(1000);
  }
}

async function matte() {
  if (!trimap || part('matte').disabled) return;
  part('matte').disabled = true;
  put(false);
  say('Matting ...');
  const asked = trimap;
  try {
    const painted = await trimap.file();
    const found = await ask(JSON.stringify({ image: await base64(file), trimap: await base64(painted) }));
    if (trimap === asked) show(found, painted);
  } catch (error) {
    const gone = error instanceof TypeError;
    say(gone ? 'The server does not answer: look into the terminal that it runs in.' : error.message, true);
  }
  part('matte').disabled = false;
}

function show(found, painted) {
  forget();
  const stem = file.name.replace(/\.[^.]*$/, '');
  const files = { alpha: png(found.alpha), cutout: png(found.cutout), trimap: painted };
  for (const [kind, content] of Object.entries(files)) {
    urls[kind] = URL.createObjectURL(content);
    Object.assign(part(`save-${kind}`), { href: urls[kind], download: `${stem}-${kind}.png` });
  }
  part('views').disabled = part('downloads').hidden = shown.hidden = false;
  part('result').classList.remove('empty');
  view();
  say(`The model took ${found.seconds} s.${found.note ? ` Note: ${found.note}.` : ''}`);
}

const png = text => new Blob([Uint8Array.from(atob(text), each => each.charCodeAt(0))], { type: 'image/png' });

function view() {
  const chosen = document.querySelector('[name=view]:checked').value;
  shown.src = chosen === 'alpha' ? urls.alpha : urls.cutout;
  shown.alt = chosen === 'alpha' ? 'The alpha' : 'The cut-out';
  shown.classList.toggle('checks', chosen === 'checks');
  shown.style.backgroundColor = chosen === 'own' ? part('colour').value : chosen.startsWith('#') ? chosen : '';
}

part('matte').addEventListener('click', matte);
document.querySelectorAll('[name=view]').forEach(each => each.addEventListener('change', view));
part('colour').addEventListener('input', () => {
  document.querySelector('[name=view][value=own]').checked = true;
  view();
});
