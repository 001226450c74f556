// What every page has.

import { byId } from "./elements.js";
import { ask, leave } from "./server.js";

byId("log-out").addEventListener("click", async () => {
  await ask("DELETE", "/session").catch(() => {});
  leave();
});

async function showAlarms() {
  const alarms = await ask("GET", "/api/v1/alarms").catch(() => null);
  if (!alarms) return;
  byId("open-alarms").hidden = alarms.length === 0;
  byId("open-alarms").textContent = alarms.length === 1 ? "1 alarm" : `${alarms.length} alarms`;
  document.dispatchEvent(new CustomEvent("alarms", { detail: alarms }));
}

showAlarms();
setInterval(showAlarms, 2000);
document.addEventListener("acknowledged", showAlarms);
