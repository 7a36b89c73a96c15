// The form of a warning: characters used, and the text as residents will see it. The form works without this file.
(() => {
  "use strict";
  const form = document.querySelector("#warning");
  const preview = document.querySelector("[data-preview]");
  const count = document.querySelector("[data-count=body]");
  const picture = document.querySelector("[data-preview-picture]");
  const kept = picture.getAttribute("src");
  const { title, body } = form.elements;

  const show = () => {
    const used = Array.from(body.value).length;
    count.textContent = `，现在 ${used} 字`;
    count.classList.toggle("bad", used > Number(body.maxLength));
    preview.textContent = title.value || body.value ? `【${title.value.trim()}】\n${body.value.trim()}` : "（写好后在这里预览）";
  };

  const showPicture = () => { // on the window, so after the document's listener, which refuses what is too large
    const file = form.elements.picture.files[0];
    const without = form.elements.without_picture?.checked;
    URL.revokeObjectURL(picture.src);
    picture.src = file ? URL.createObjectURL(file) : (!without && kept) || "";
    picture.hidden = !picture.getAttribute("src");
  };

  const when = () => {
    const chosen = form.elements.when.value;
    for (const element of form.querySelectorAll("[data-when]")) element.hidden = !element.dataset.when.split(" ").includes(chosen);
    form.elements.send_at.required = chosen !== "now";
  };

  form.addEventListener("input", show);
  form.addEventListener("change", when);
  addEventListener("change", (event) => { if (event.target.matches("[name=picture], [name=without_picture]")) showPicture(); });
  show();
  when();
})();
