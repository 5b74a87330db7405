// Two pictures of one image over each other; the slider says where one ends. Without it the links remain.
const viewer = document.getElementById('viewer');
const part = name => document.getElementById(name);
const sides = ['left', 'right'];
const stage = document.querySelector('#viewer .stage');
const pictures = { right: new Image(), left: new Image() };

function choose() {
  for (const side of sides) {
    const chosen = part(side).selectedOptions[0];
    pictures[side].src = chosen.value;
    pictures[side].alt = chosen.text;
  }
  cut();
}

// Not where pictures are chosen: choosing one loads it, and a loaded one is cut anew.
function cut() {
  const room = stage.getBoundingClientRect();
  const { naturalWidth: width, naturalHeight: height } = pictures.left;
  const shown = width ? Math.min(room.width, room.height * width / height) : room.width;
  const edge = (room.width - shown) / 2 + shown * part('cut').value / 100;
  pictures.left.style.clipPath = `inset(0 ${room.width - edge}px 0 0)`;
}

function open(exhibit, picked) {
  const figures = [...exhibit.querySelectorAll('figure')];
  part('viewer-title').textContent = exhibit.dataset.name;
  for (const side of sides) {
    part(side).replaceChildren(...figures.map(figure =>
      new Option(figure.querySelector('figcaption').textContent, figure.querySelector('a').getAttribute('href'))));
  }
  const other = figures.findIndex(figure => figure.querySelector('figcaption').textContent === 'truth');
  part('left').selectedIndex = picked;
  part('right').selectedIndex = picked === other ? figures.findIndex((_, i) => i > other) : other;
  part('cut').value = 50;
  stage.replaceChildren(pictures.right, pictures.left);
  viewer.showModal();
  choose();
}

document.querySelectorAll('.exhibit').forEach(exhibit =>
  exhibit.querySelectorAll('figure a').forEach((link, i) => link.addEventListener('click', event => {
    event.preventDefault();
    open(exhibit, i);
  })));
sides.forEach(side => part(side).addEventListener('input', choose));
part('cut').addEventListener('input', cut);
pictures.left.addEventListener('load', cut);
window.addEventListener('resize', () => viewer.open && cut());
part('close').addEventListener('click', () => viewer.close());
