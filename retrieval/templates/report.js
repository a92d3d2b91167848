for (const frame of document.querySelectorAll(".map-frame")) zoomMap(frame);
// Plays one clip at a time and moves a needle over its spectrogram.
(() => {
  let button = null;
  let audio = null;

  function stop() {
    if (audio) audio.pause();
    if (button) {
      button.classList.remove("playing");
      button.style.removeProperty("--progress");
    }
    button = audio = null;
  }

  function draw() {
    if (!audio) return;
    if (audio.ended) return stop();
    if (audio.duration > 0) button.style.setProperty("--progress", audio.currentTime / audio.duration);
    requestAnimationFrame(draw);
  }

  document.addEventListener("click", (event) => {
    const clicked = event.target.closest("button.sound");
    if (!clicked) return;
    const again = clicked === button;
    stop();
    if (again) return;
    button = clicked;
    audio = document.getElementById(clicked.dataset.clip);
    button.classList.add("playing");
    audio.currentTime = 0;
    audio.play().catch(stop);
    draw();
  });
})();
