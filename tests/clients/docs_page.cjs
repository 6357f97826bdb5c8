// The reference page in a browser: what it shows, whom it asks, what the browser has against it, and whether a call from it
// works.

const { withPage } = require("./browser.cjs");

const url = process.argv[2];

withPage(async (page) => {
  const told = { elsewhere: [], complaints: [] };
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== "data:" && origin !== new URL(url).origin) told.elsewhere.push(request.url());
  });
  page.on("console", (message) => {
    if (message.type() === "error") told.complaints.push(message.text());
  });
  await page.goto(url);
  await page.locator(".opblock").first().waitFor();
  told.operations = await page.locator(".opblock").count();
  const health = page.locator("#operations-health-alive");
  await health.locator(".opblock-summary-control").click();
  await health.locator(".try-out__btn").click();
  await health.locator(".execute").click();
  told.answer = await health.locator(".live-responses-table .response-col_description .microlight").first().innerText();
  console.log(JSON.stringify(told));
});
