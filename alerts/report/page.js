(function () {
  var mains = document.querySelectorAll("main[lang]"), buttons = document.querySelectorAll("nav button");
  function show(language) {
    mains.forEach(function (main) { main.hidden = main.lang !== language; });
    buttons.forEach(function (button) { button.setAttribute("aria-pressed", button.dataset.show === language); });
    document.documentElement.lang = language;
    try { localStorage.setItem("language", language); } catch (error) { /* private window: not remembered */ }
  }
  var known = Array.prototype.map.call(mains, function (main) { return main.lang; }), wanted = location.hash.slice(1);
  if (known.indexOf(wanted) < 0) { try { wanted = localStorage.getItem("language"); } catch (error) { wanted = null; } }
  buttons.forEach(function (button) { button.addEventListener("click", function () { show(button.dataset.show); }); });
  show(known.indexOf(wanted) < 0 ? known[0] : wanted);
})();
