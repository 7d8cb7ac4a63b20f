// Takes a request that a QR code put behind the "#" of this page's address, where it never reaches a log. Everything
// else on these pages works without JavaScript.
"use strict";
(() => {
  // What a request looks like; "#main" and the like are places on the page.
  const REQUEST = /^[A-Za-z0-9._~:+*$%/=-]{40,16384}$/;
  let taken = null;

  function take() {
    const fragment = location.hash.slice(1);
    if (!REQUEST.test(fragment)) return;
    // The address is cleared at once: nothing of it stays in the history, in a screenshot or in a shared link.
    history.replaceState(null, "", location.pathname);
    taken = fragment;
    fill();
  }

  function fill() {
    if (taken === null || document.readyState === "loading") return;
    const field = document.getElementById("text");
    const send = document.getElementById("send");
    if (field === null || send === null) {
      // A page about an answer: the form is a step back. Another address, so that the browser loads it anew.
      location.replace(location.pathname + "?new#" + taken);
      return;
    }
    field.value = taken;
    taken = null;
    document.getElementById("by-hand").open = true;
    document.getElementById("taken").hidden = false;
    document.getElementById("taken-words").textContent =
      "The request from the QR code is in the form. Check that this is the site of your plug-in’s vendor, then " +
      "choose “Get the answer”.";
    send.focus();
  }

  take();
  addEventListener("hashchange", take);
  addEventListener("DOMContentLoaded", fill);
})();
