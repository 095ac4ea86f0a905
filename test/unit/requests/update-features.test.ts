/** Levels of features: what is refused with Kafka's reasons, what is changed, and what ApiVersions then says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { ApiVersionsCodec } from '../../../src/protocol/generated/api-versions.ts';
import { UpdateFeaturesCodec } from '../../../src/protocol/generated/update-features.ts';
import { apiVersionsHandler } from '../../../src/requests/api-versions.ts';
import { type Feature, features, levelOf } from '../../../src/requests/support/features.ts';
import { updateFeaturesHandler } from '../../../src/requests/update-features.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, ErrorCode, FakeControl, FakeTopics, nodeId } from './admin-fixtures.ts';

const two: readonly Feature[] = [
  { name: 'metadata.version', minVersion: 7, maxVersion: 33, defaultLevel: 33 },
  { name: 'transaction.version', minVersion: 0, maxVersion: 2, defaultLevel: 2 },
];

function rig() {
  const topics = new FakeTopics();
  const control = new FakeControl();
  const deps = { topics, control, nodeId, features: two, clock: new HandClock(), logger: silentLogger };
  const handler = updateFeaturesHandler(deps);
  const update = async (
    changes: readonly (readonly [feature: string, level: number, kind: number])[],
    version = 1,
    validateOnly = false,
  ) => {
    const featureUpdates = changes.map(([feature, maxVersionLevel, kind]) => ({
      feature,
      maxVersionLevel,
      ...(version === 0 ? { allowDowngrade: kind > 1 } : { upgradeType: kind }),
    }));
    const request = { featureUpdates, ...(version === 0 ? {} : { validateOnly }) };
    const answer = await call(handler, UpdateFeaturesCodec, version, request);
    return [answer.errorCode, answer.errorMessage, answer.results.map(({ feature }) => feature)];
  };
  return { topics, control, update };
}

test('refusals, for the whole request', async () => {
  const { control, update } = rig();
  const code = ErrorCode.INVALID_UPDATE_VERSION;
  const begin =
    'The update failed for all features since the following feature had an error: Invalid update version';
  const refused = async (feature: string, level: number, kind: number, why: string) =>
    assert.deepEqual(
      await update([
        ['transaction.version', 1, 2],
        [feature, level, kind],
      ]),
      [code, `${begin} ${level} for feature ${feature}. ${why}`, []],
    );
  await refused('nope', 1, 1, `Local controller ${nodeId} does not support this feature.`);
  await refused('metadata.version', 99, 1, `Local controller ${nodeId} only supports versions 7-33`);
  await refused('metadata.version', 0, 2, `Local controller ${nodeId} only supports versions 7-33`);
  await refused('transaction.version', -1, 1, 'A feature version cannot be less than 0.');
  for (const kind of [0, 9])
    await refused('transaction.version', 1, kind, 'The controller does not support the given upgrade type.');
  await refused(
    'transaction.version',
    0,
    1,
    "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
  );
  assert.equal((await update([['transaction.version', 1, 1]], 0))[0], code, 'v0 without leave to downgrade');
  assert.deepEqual(control.edits, []);
});

test('changes reach the metadata, and only changes; results up to v1', async () => {
  const { control, update } = rig();
  assert.deepEqual(await update([['transaction.version', 1, 2]], 1, true), [
    0,
    null,
    ['transaction.version'],
  ]);
  assert.deepEqual(await update([['metadata.version', 33, 1]]), [0, null, ['metadata.version']]);
  assert.deepEqual(await update([]), [0, null, []]);
  assert.deepEqual(control.edits, []);
  assert.deepEqual(await update([['transaction.version', 1, 2]], 0), [0, null, ['transaction.version']]);
  assert.deepEqual(await update([['transaction.version', 0, 3]], 2), [0, null, []]);
  assert.deepEqual(
    control.edits.map(({ resource, name, entries }) => [resource, name, entries]),
    ['1', '0'].map((level) => ['feature', 'transaction.version', { level }]),
  );
  control.answer = { error: ErrorCode.NOT_CONTROLLER, message: 'fenced' };
  assert.deepEqual(await update([['transaction.version', 1, 2]]), [ErrorCode.NOT_CONTROLLER, 'fenced', []]);
});

test('ApiVersions tells the level in force, and not what is off', async () => {
  const topics = new FakeTopics();
  const handler = apiVersionsHandler({ handlers: () => [], features: two, topics, nodeId });
  const finalized = async () => {
    const software = { clientSoftwareName: 'c', clientSoftwareVersion: '1' };
    const answer = await call(handler, ApiVersionsCodec, 4, software);
    return answer.finalizedFeatures.map(({ name, maxVersionLevel }) => `${name}=${maxVersionLevel}`);
  };
  assert.deepEqual(await finalized(), ['metadata.version=33', 'transaction.version=2']);
  const set = (level: string) =>
    topics.builder.apply([
      { type: 'config', resource: 'feature', name: 'transaction.version', entries: { level } },
    ]);
  set('1');
  assert.deepEqual(await finalized(), ['metadata.version=33', 'transaction.version=1']);
  set('0');
  assert.deepEqual(await finalized(), ['metadata.version=33']);
  // A cluster that a later version has raised further than this one can.
  set('7');
  assert.deepEqual(await finalized(), ['metadata.version=33', 'transaction.version=2']);
});

test("this version's own features are sound", () => {
  const { image } = new FakeTopics();
  for (const { name, minVersion, maxVersion, defaultLevel } of features) {
    assert.ok(minVersion >= 0 && minVersion <= maxVersion && defaultLevel <= maxVersion, name);
    assert.equal(levelOf(image, name), defaultLevel);
  }
  assert.equal(levelOf(image, 'nope'), 0);
});
