// Queries and jobs as a back end uses them, all through clients as published (R-G32 to R-G36,
// R-F7, R-F10).
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import device from "azure-iot-device";
import { Mqtt } from "azure-iot-device-mqtt";
import iothub from "azure-iothub";

assert.ok(process.env.LINARITE_READY, "start these tests with `node run.js`");
const { connection_string: hub, host } = JSON.parse(process.env.LINARITE_READY).hubs[0];
const LIMIT = { timeout: 60_000 };
const STEP_MS = 20_000;

const registry = iothub.Registry.fromConnectionString(hub);
const jobs = iothub.JobClient.fromConnectionString(hub);

test("devices are found page by page", LIMIT, async () => {
  const ids = await tagged("node-query", 5);
  const query = "SELECT * FROM devices WHERE tags.run = 'node-query'";
  const pages = registry.createQuery(query, 2);
  const found = [];
  while (pages.hasMoreResults) {
    const twins = (await within("a page", pages.nextAsTwin())).result;
    assert.ok(twins.length <= 2);
    found.push(...twins.map((twin) => twin.deviceId));
  }
  assert.deepEqual(found, ids);

  const rows = await all(`${query.replace("*", "COUNT() AS n, AVG(tags.number) AS mean")}`);
  assert.deepEqual(rows, [{ n: 5, mean: 2 }]);
  await assert.rejects(all("SELECT * FROM devices WHERE"), named("ArgumentError", "Line 1:28"));
});

test("a job updates twins", LIMIT, async () => {
  const ids = await tagged("node-job-twin", 3);
  const patch = { etag: "*", tags: { rolled: true } };
  const where = "tags.run = 'node-job-twin' AND tags.number > 0";
  const made = await within(
    "scheduling",
    jobs.scheduleTwinUpdate("node-job-twin", where, patch, new Date(), 60),
  );
  assert.equal(made.jobStatus.status, "queued");
  const done = await ended("node-job-twin");
  assert.equal(done.status, "completed");
  assert.equal(done.deviceJobStatistics.succeededCount, 2);
  const rolled = [];
  for (const id of ids) rolled.push((await within("a twin", registry.getTwin(id))).responseBody.tags.rolled);
  assert.deepEqual(rolled, [undefined, true, true]);
  await assert.rejects(
    jobs.scheduleTwinUpdate("node-job-twin", where, patch, new Date(), 60),
    // The client has one name for every 409.
    /DeviceAlreadyExistsError: A job of this id exists already/,
  );
});

test("a job calls who is there", LIMIT, async (t) => {
  const [here, away] = await tagged("node-job-call", 2);
  const { primaryKey } = (await within("a device", registry.get(here))).responseBody.authentication
    .symmetricKey;
  const client = device.Client.fromConnectionString(
    `HostName=${host};DeviceId=${here};SharedAccessKey=${primaryKey}`,
    Mqtt,
  );
  t.after(() => client.close().catch(() => {}));
  client.on("error", () => {});
  await within("connecting", client.open());
  client.onDeviceMethod("reprovision", (request, response) => response.send(207, { told: request.payload }));
  const method = {
    methodName: "reprovision",
    payload: { by: "job" },
    responseTimeoutInSeconds: 10,
  };
  const calls = iothub.Client.fromConnectionString(hub);
  await retried(() => calls.invokeDeviceMethod(here, method));

  const where = `deviceId IN ['${here}', '${away}']`;
  await within(
    "scheduling",
    jobs.scheduleDeviceMethod("node-job-call", where, method, new Date(), 60),
  );
  const done = await ended("node-job-call");
  assert.equal(done.status, "completed");
  const { deviceCount, succeededCount, failedCount } = done.deviceJobStatistics;
  assert.deepEqual([deviceCount, succeededCount, failedCount], [2, 1, 1]);
  const outcomes = await all(
    "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'node-job-call'",
  );
  const of = (id) => outcomes.find((outcome) => outcome.deviceId === id);
  assert.deepEqual(of(here).outcome.deviceMethodResponse, {
    status: 207,
    payload: { told: { by: "job" } },
  });
  assert.equal(of(away).error.code, "DeviceNotOnline");
});

test("jobs are listed and cancelled", LIMIT, async () => {
  const [id] = await tagged("node-job-later", 1);
  const later = new Date(Date.now() + 3_600_000);
  const patch = { etag: "*", tags: { rolled: true } };
  for (const job of ["node-job-later-1", "node-job-later-2", "node-job-later-3"]) {
    await within("scheduling", jobs.scheduleTwinUpdate(job, `deviceId = '${id}'`, patch, later, 60));
    const { jobStatus } = await within("cancelling", jobs.cancelJob(job));
    assert.equal(jobStatus.status, "cancelled");
  }
  const pages = jobs.createQuery("scheduleUpdateTwin", "cancelled", 2);
  const found = [];
  while (pages.hasMoreResults) {
    const page = (await within("a page", pages.next(pages.continuationToken))).result;
    assert.ok(page.length <= 2);
    found.push(...page.map((job) => job.jobId));
  }
  const ours = found.filter((job) => job.startsWith("node-job-later-"));
  assert.deepEqual(ours, ["node-job-later-1", "node-job-later-2", "node-job-later-3"]);
  await assert.rejects(jobs.cancelJob("node-job-none"), named("Error", "JobNotFound"));
});

/** Devices that nobody else's query finds. */
async function tagged(run, count) {
  const ids = Array.from({ length: count }, (_, number) => `${run}-${number}`);
  for (const [number, deviceId] of ids.entries()) {
    await within("creating", registry.create({ deviceId }));
    const patch = { tags: { run, number } };
    await within("tagging", registry.updateTwin(deviceId, patch, "*"));
  }
  return ids;
}

/** All that a query finds. The client forgets where it is unless `next` is told. */
async function all(query) {
  const pages = registry.createQuery(query, 2);
  const found = [];
  while (pages.hasMoreResults) {
    found.push(...(await within("a page", pages.next(pages.continuationToken))).result);
  }
  return found;
}

async function ended(id) {
  for (let left = 100; ; left -= 1) {
    const { jobStatus } = await within("reading the job", jobs.getJob(id));
    if (["completed", "failed", "cancelled"].includes(jobStatus.status)) return jobStatus;
    assert.ok(left > 0, `${id} does not end: ${JSON.stringify(jobStatus)}`);
    await delay(100);
  }
}

function named(name, text) {
  return (error) => {
    assert.equal(error.name, name, String(error));
    const told = `${error.message} ${error.responseBody}`;
    assert.ok(told.includes(text), told);
    return true;
  };
}

/** Names the step that does not end. */
function within(what, promise) {
  const overdue = delay(STEP_MS, undefined, { ref: false }).then(() => {
    throw new Error(`${what}: not done after ${STEP_MS / 1000} s`);
  });
  return Promise.race([promise, overdue]);
}

/** Tries again for a while: the client does not tell when it has subscribed. */
async function retried(attempt) {
  for (let left = 30; ; left -= 1) {
    try {
      return await within("calling", attempt());
    } catch (error) {
      if (left === 0) throw error;
      await delay(200);
    }
  }
}
