import { ask } from "./server.js";

const logIn = document.getElementById("log-in");
const choose = document.getElementById("choose");
const problem = document.getElementById("problem");

async function attempt(work) {
  problem.textContent = "";
  try {
    await work();
  } catch (error) {
    problem.textContent = error.message;
  }
}

logIn.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const { name, password } = logIn.elements;
    const account = await ask("POST", "/session", { name: name.value, password: password.value });
    if (!account.is_one_time) return location.assign("/");
    logIn.hidden = true;
    choose.hidden = false;
    choose.elements.new.focus();
  });
});

choose.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const chosen = choose.elements.new.value;
    if (chosen !== choose.elements.repeated.value) throw new Error("the two are not the same");
    await ask("POST", "/password", { old: logIn.elements.password.value, new: chosen });
    location.assign("/");
  });
});
