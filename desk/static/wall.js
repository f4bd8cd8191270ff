// The wall: rolls its alarms through the ticker, sounds for new ones, and shows when it hears nothing from the desk.
const RAISED_HZ = [880, 660, 880];
const list = document.getElementById("wall-alarms");
const ticker = document.getElementById("ticker");
const button = document.querySelector(".sound");
const lost = document.querySelector(".lost");
const audio = new AudioContext();
let newest = Number(list.querySelector(".as-of").dataset.newest);
let position = 0;
let waiting;

// Browsers let a page sound once somebody touched it, or at once where they are started for a kiosk.
function showSound() {
  button.textContent = audio.state === "running" ? button.dataset.on : button.dataset.off;
}

function sound() {
  RAISED_HZ.forEach((hertz, index) => {
    const start = audio.currentTime + index * 0.25;
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = hertz;
    volume.gain.setValueAtTime(0.3, start);
    volume.gain.exponentialRampToValueAtTime(0.001, start + 0.22);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.24);
  });
  document.body.dataset.sounded = Number(document.body.dataset.sounded || 0) + 1;
}

function roll() {
  const rows = list.querySelectorAll("[data-tick]");
  const row = rows[position % (rows.length || 1)];
  position += 1;
  ticker.className = row ? `ticker ${row.className}` : "ticker";
  ticker.replaceChildren(...[...(row?.cells ?? [])].slice(1).map((cell) => {
    const part = document.createElement("span");
    part.textContent = cell.textContent.trim();
    return part;
  }));
  clearTimeout(waiting);
  waiting = setTimeout(roll, 1000 * Number(list.querySelector(".as-of").dataset.seconds));
}

function heard() {
  lost.hidden = true;
  const now = Number(list.querySelector(".as-of").dataset.newest);
  if (now > newest) {
    sound();
    position = 0;
    roll();
  }
  newest = Math.max(now, newest);
}

function notHeard() {
  lost.textContent = document.querySelector(".wall").dataset.lost;
  lost.hidden = false;
}

document.body.addEventListener("htmx:afterSwap", heard);
document.body.addEventListener("htmx:sendError", notHeard);
document.body.addEventListener("htmx:responseError", notHeard);
document.body.addEventListener("htmx:timeout", notHeard);
for (const touch of ["click", "keydown"]) {
  document.addEventListener(touch, () => audio.resume().then(showSound));
}
button.addEventListener("click", () => audio.resume().then(sound));
audio.addEventListener("statechange", showSound);
showSound();
roll();
