// Copies commands, and keeps the start page fresh. Without it the pages lack nothing else.
"use strict";

const REFRESH_MS = 10000;

function addCopyButtons(root) {
  for (const command of root.querySelectorAll(".command")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command.querySelector("code").textContent);
      button.textContent = "copied";
    });
    command.append(button);
  }
}

function isBeingRead(part) {
  return !document.getSelection().isCollapsed || part.matches(":hover, :focus-within");
}

async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href);
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.title = page.title;
      for (const part of document.querySelectorAll(".live")) {
        if (isBeingRead(part)) continue;
        const fresh = page.getElementById(part.id);
        addCopyButtons(fresh);
        part.replaceWith(fresh);
      }
      document.body.classList.remove("stale");
    } catch {
      document.body.classList.add("stale");
    }
  }
  setTimeout(refresh, REFRESH_MS);
}

addCopyButtons(document);
if (document.querySelector(".live")) setTimeout(refresh, REFRESH_MS);
