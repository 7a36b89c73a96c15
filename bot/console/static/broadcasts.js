// The form of a warning: characters used, and the text as residents will see it. The form works without this file.
(() => {
  "use strict";
  const form = document.querySelector("#warning");
  const preview = document.querySelector("[data-preview]");
  const count = document.querySelector("[data-count=body]");
  const { title, body } = form.elements;

  const show = () => {
    const used = Array.from(body.value).length;
    count.textContent = `，现在 ${used} 字`;
    count.classList.toggle("bad", used > Number(body.maxLength));
    preview.textContent = title.value || body.value ? `【${title.value.trim()}】\n${body.value.trim()}` : "（写好后在这里预览）";
  };

  const when = () => {
    const chosen = form.elements.when.value;
    for (const element of form.querySelectorAll("[data-when]")) element.hidden = !element.dataset.when.split(" ").includes(chosen);
    form.elements.send_at.required = chosen !== "now";
  };

  form.addEventListener("input", show);
  form.addEventListener("change", when);
  show();
  when();
})();
