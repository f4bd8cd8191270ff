// Ticks or unticks every box of a name at once.
document.addEventListener("change", (event) => {
  const name = event.target.dataset?.ticks;
  if (name) for (const box of document.getElementsByName(name)) box.checked = event.target.checked;
});
