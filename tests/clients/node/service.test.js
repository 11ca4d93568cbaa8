// Life cycles through the service client as published, which speaks 2021-10-01.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";

import symmetricKey from "azure-iot-security-symmetric-key";
import { X509Security } from "azure-iot-security-x509";

import { LIMIT, dps, pki, register, trust, within } from "./lab.js";

const { SymmetricKeySecurityClient } = symmetricKey;
const SYMMETRIC = { type: "symmetricKey" };

test("an X.509 entry from creation to deletion", LIMIT, async () => {
  // R-F1, R-F2, R-F3, R-A8.
  const id = "node-entry";
  const [first, second] = [pki.root(id), pki.root(id)];
  const wanted = {
    registrationId: id,
    deviceId: `${id}-device`,
    attestation: x509({ clientCertificates: { primary: { certificate: first.cert } } }),
    initialTwin: { tags: { site: "north" }, properties: { desired: { interval: 5 } } },
    reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: false },
  };
  const created = body(await dps.createOrUpdateIndividualEnrollment(wanted));
  assert.equal(created.provisioningStatus, "enabled");
  assert.deepEqual(created.reprovisionPolicy, wanted.reprovisionPolicy);
  assert.equal(created.initialTwin.properties.desired.interval, 5);
  const { info } = created.attestation.x509.clientCertificates.primary;
  assert.equal(info.subjectName, `CN=${id}`);
  assert.ok(new Date(info.notAfterUtc) > new Date(info.notBeforeUtc));
  assert.deepEqual(body(await dps.getIndividualEnrollment(id)), created);

  // Without an etag a write is a creation.
  await refused(409, 409000, () => dps.createOrUpdateIndividualEnrollment(wanted));

  // What was read goes back with a second certificate; the slot that is not sent again stays.
  const slots = created.attestation.x509.clientCertificates;
  const both = { ...slots, secondary: { certificate: second.cert } };
  const change = { ...created, attestation: x509({ clientCertificates: both }) };
  const updated = body(await dps.createOrUpdateIndividualEnrollment(change));
  assert.notEqual(updated.etag, created.etag);
  assert.deepEqual(updated.attestation.x509.clientCertificates.primary.info, info);
  assert.equal(updated.attestation.x509.clientCertificates.secondary.info.subjectName, `CN=${id}`);

  await refused(412, 412000, () => dps.createOrUpdateIndividualEnrollment(change));
  const mechanism = body(await dps.getIndividualEnrollmentAttestationMechanism(id));
  assert.equal(mechanism.type, "x509");

  await refused(412, 412000, () => dps.deleteIndividualEnrollment(created));
  await dps.deleteIndividualEnrollment(updated);
  await refused(404, 404201, () => dps.getIndividualEnrollment(id));
  await refused(404, 404201, () => dps.deleteIndividualEnrollment(id, "*"));
});

test("a symmetric-key entry, its record, and new keys", LIMIT, async () => {
  // R-A31, R-A32, R-F5, R-E5.
  const id = "node-key-entry";
  const created = body(
    await dps.createOrUpdateIndividualEnrollment({ registrationId: id, attestation: SYMMETRIC }),
  );
  assert.ok(!created.attestation.symmetricKey?.primaryKey, "only the mechanism shows keys");
  const made = body(await dps.getIndividualEnrollmentAttestationMechanism(id)).symmetricKey;
  assert.equal(Buffer.from(made.primaryKey, "base64").length, 64);

  for (const key of [made.primaryKey, made.secondaryKey]) {
    const state = await register(id, new SymmetricKeySecurityClient(id, key));
    assert.deepEqual([state.status, state.deviceId], ["assigned", id]);
  }
  const record = body(await dps.getDeviceRegistrationState(id));
  assert.deepEqual([record.status, record.registrationId], ["assigned", id]);
  const entry = body(await dps.getIndividualEnrollment(id));
  assert.equal(entry.registrationState.status, "assigned");

  const chosen = { primaryKey: keyOf("a"), secondaryKey: keyOf("b") };
  const attestation = { type: "symmetricKey", symmetricKey: chosen };
  await dps.createOrUpdateIndividualEnrollment({ ...created, attestation });
  const rolled = body(await dps.getIndividualEnrollmentAttestationMechanism(id)).symmetricKey;
  assert.deepEqual(rolled, chosen);
  const old = new SymmetricKeySecurityClient(id, made.primaryKey);
  await assert.rejects(register(id, old), { name: "UnauthorizedError" });

  await refused(412, 412000, () => dps.deleteDeviceRegistrationState(id, '"stale"'));
  const latest = body(await dps.getDeviceRegistrationState(id));
  await dps.deleteDeviceRegistrationState(latest);
  await refused(404, 404202, () => dps.getDeviceRegistrationState(id));
  await dps.deleteIndividualEnrollment(id);
});

test("groups of each kind", LIMIT, async (t) => {
  // R-A13, R-F1, R-F2, R-F3.
  const root = pki.root("node-kinds");
  await trust("node-kinds", root);
  const keys = { primaryKey: keyOf("g"), secondaryKey: keyOf("h") };
  const kinds = {
    signing: x509({ signingCertificates: { primary: { certificate: root.cert } } }),
    references: x509({ caReferences: { primary: "node-kinds" } }),
    keys: { type: "symmetricKey", symmetricKey: keys },
  };
  for (const [kind, attestation] of Object.entries(kinds)) {
    await t.test(kind, async () => {
      const id = `node-group-${kind}`;
      const wanted = { enrollmentGroupId: id, attestation };
      const created = body(await dps.createOrUpdateEnrollmentGroup(wanted));
      assert.deepEqual(body(await dps.getEnrollmentGroup(id)), created);
      await refused(409, 409000, () => dps.createOrUpdateEnrollmentGroup(wanted));

      const change = { ...created, provisioningStatus: "disabled" };
      const updated = body(await dps.createOrUpdateEnrollmentGroup(change));
      assert.equal(updated.provisioningStatus, "disabled");
      assert.deepEqual(updated.attestation, created.attestation);
      await refused(412, 412000, () => dps.createOrUpdateEnrollmentGroup(change));

      const shown = body(await dps.getEnrollmentGroupAttestationMechanism(id));
      assert.equal(shown.type, attestation.type);
      if (kind === "keys") assert.deepEqual(shown.symmetricKey, keys);
      if (kind === "references") assert.equal(shown.x509.caReferences.primary, "node-kinds");

      await refused(412, 412000, () => dps.deleteEnrollmentGroup(created));
      await dps.deleteEnrollmentGroup(updated);
      await refused(404, 404202, () => dps.getEnrollmentGroup(id));
    });
  }
});

test("the records of a group's devices, in pages", LIMIT, async () => {
  // R-A33, R-F7, R-E5.
  const id = "node-members";
  const root = pki.root(id);
  await trust(id, root);
  const keys = { primaryKey: keyOf("k"), secondaryKey: keyOf("l") };
  const attestations = {
    [`${id}-keys`]: { type: "symmetricKey", symmetricKey: keys },
    [`${id}-leaves`]: x509({ caReferences: { primary: id } }),
  };
  for (const [group, attestation] of Object.entries(attestations)) {
    await dps.createOrUpdateEnrollmentGroup({ enrollmentGroupId: group, attestation });
    const members = [1, 2, 3].map((number) => `${group}-${number}`);
    for (const member of members) {
      const security =
        attestation.type === "x509"
          ? new X509Security(member, leafOf(member, root))
          : new SymmetricKeySecurityClient(member, derivedKey(keys.secondaryKey, member));
      const state = await register(member, security);
      assert.deepEqual([state.deviceId, state.substatus], [member, "initialAssignment"]);
    }
    const specification = { query: "*" };
    const query = dps.createEnrollmentGroupDeviceRegistrationStateQuery(specification, group, 2);
    const pages = await pagesOf(query);
    assert.deepEqual(pages.map((page) => page.length), [2, 1]);
    assert.deepEqual(pages.flat().map((record) => record.registrationId).sort(), members);
    await dps.deleteEnrollmentGroup(group);
    assert.equal(body(await dps.getDeviceRegistrationState(members[0])).status, "assigned");
  }
});

test("entries and groups in pages", LIMIT, async () => {
  // R-F7.
  const names = [1, 2, 3, 4, 5].map((number) => `node-page-${number}`);
  for (const name of names) {
    const members = { attestation: SYMMETRIC };
    await dps.createOrUpdateIndividualEnrollment({ registrationId: name, ...members });
    await dps.createOrUpdateEnrollmentGroup({ enrollmentGroupId: name, ...members });
  }
  const queries = {
    registrationId: dps.createIndividualEnrollmentQuery({ query: "SELECT * FROM enrollments" }, 2),
    enrollmentGroupId: dps.createEnrollmentGroupQuery({ query: "*" }, 2),
  };
  for (const [member, query] of Object.entries(queries)) {
    const pages = await pagesOf(query);
    assert.ok(pages.every((page) => page.length <= 2));
    const seen = pages.flat().map((entry) => entry[member]);
    assert.equal(new Set(seen).size, seen.length);
    assert.deepEqual(seen.filter((name) => names.includes(name)).sort(), names);
  }
  const wrong = dps.createIndividualEnrollmentQuery({ query: "DROP enrollments" });
  await refused(400, 400004, () => wrong.next());
});

test("bulk with a failing item", LIMIT, async () => {
  // R-F6.
  const [good, bad] = ["node-bulk-good", "node-bulk-bad"];
  const wrong = x509({ clientCertificates: { primary: { certificate: "no certificate" } } });
  const enrollments = [
    { registrationId: good, attestation: SYMMETRIC },
    { registrationId: bad, attestation: wrong },
  ];
  const result = await bulk("create", enrollments);
  assert.equal(result.isSuccessful, false);
  assert.deepEqual(result.errors.map((error) => error.registrationId), [bad]);
  assert.equal(result.errors[0].errorCode, 400004);
  assert.match(result.errors[0].errorStatus, /certificate/);

  const created = body(await dps.getIndividualEnrollment(good));
  const change = [{ ...created, provisioningStatus: "disabled" }];
  // The type of this client spells the mode so, the API `updateIfMatchETag`.
  for (const mode of ["updateIfMatchEtag", "updateIfMatchETag"]) {
    change[0].etag = body(await dps.getIndividualEnrollment(good)).etag;
    assert.equal((await bulk(mode, change)).isSuccessful, true, mode);
    assert.equal((await bulk(mode, change)).errors[0].errorCode, 412000, mode);
  }
  assert.equal(body(await dps.getIndividualEnrollment(good)).provisioningStatus, "disabled");
  assert.equal((await bulk("update", enrollments.slice(0, 1))).isSuccessful, true);
  const removed = await bulk("delete", enrollments);
  assert.deepEqual(removed.errors.map((error) => error.registrationId), [bad]);
  await refused(404, 404201, () => dps.getIndividualEnrollment(good));
});

/** What the service answered; the client wraps it or not. */
function body(answer) {
  return answer.responseBody ?? answer;
}

function x509(members) {
  return { type: "x509", x509: members };
}

/** A key as Azure makes them: 64 bytes in base64. */
function keyOf(letter) {
  return Buffer.from(letter.repeat(64)).toString("base64");
}

/** The key of one device of a group; no client library makes it (R-A33). */
function derivedKey(groupKey, id) {
  return createHmac("sha256", Buffer.from(groupKey, "base64")).update(id).digest("base64");
}

function leafOf(id, issuer) {
  const leaf = pki.leaf(id, issuer);
  return { cert: leaf.cert + issuer.cert, key: leaf.key };
}

/** The promise of this call is never kept unless there is a callback. */
function bulk(mode, enrollments) {
  const done = new Promise((resolve, reject) => {
    dps.runBulkEnrollmentOperation({ mode, enrollments }, (error, result) =>
      error ? reject(error) : resolve(body(result)),
    );
  });
  return within(`the bulk operation ${mode}`, done);
}

/** Without a callback the client forgets where it was unless it is told. */
async function pagesOf(query) {
  const pages = [];
  while (query.hasMoreResults) {
    pages.push(body(await within("a page", query.next(query.continuationToken))));
  }
  return pages;
}

/** The call is refused with this status and number, and the answer says something (R-A29, R-F8). */
async function refused(status, number, call) {
  const error = await call().then(
    () => assert.fail(`not refused with ${status}`),
    (refusal) => refusal,
  );
  assert.equal(error.response?.statusCode, status, String(error));
  assert.equal(error.response.headers["x-ms-error-code"], String(number));
  const details = JSON.parse(error.responseBody);
  assert.equal(details.errorCode, number);
  assert.ok(details.message && details.trackingId && details.timestampUtc);
}
