// A page in Chromium, for the tests that need a browser. Run by itself it only tells whether one opens.

const { chromium } = require("playwright-core");

/** Opens a page, hands it to `use`, and closes the browser whatever happens. */
async function withPage(use) {
  const browser = await chromium.launch({
    executablePath: process.env.OTPD_CLIENTS_CHROMIUM,
    // Its sandbox refuses to run as root; /dev/shm is small in containers.
    args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-dev-shm-usage"],
  });
  try {
    return await use(await browser.newPage(), browser);
  } finally {
    await browser.close();
  }
}

module.exports = { withPage };

if (require.main === module) {
  withPage(async (page, browser) => {
    await page.setContent("<title>opened</title>");
    console.log(`${await page.title()} in Chromium ${browser.version()}`);
  });
}
