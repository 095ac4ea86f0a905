/**
 * UpdateFeatures (key 57), versions 0–2 (KIP-584, KIP-778): changes the levels of features, all of the request or none.
 *
 * A level that is not served, a negative one, a lower one without leave to downgrade, an unknown kind of change:
 * INVALID_UPDATE_VERSION for the whole, with the first reason. v0 says allowDowngrade, later versions the kind (upgrade,
 * safe or unsafe downgrade) and whether to validate only. Results are listed up to v1. The time-out does not matter, as in
 * Kafka; what the control plane refuses is the error of the whole.
 */
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  UpdateFeaturesCodec,
  type UpdateFeaturesRequest,
  type UpdateFeaturesRequestFeatureUpdateKey,
  type UpdateFeaturesResponseInput,
} from '../protocol/generated/update-features.ts';
import type { ConfigEdit, ControlPlane } from './support/control-plane.ts';
import { type Feature, featureLevel } from './support/features.ts';
import type { RequestHandler } from './support/handler.ts';
import { begunMsMin, type LimitDeps, withinLimit } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface UpdateFeaturesDeps extends LimitDeps {
  readonly topics: TopicDirectory;
  readonly control: Pick<ControlPlane, 'alterConfigs'>;
  readonly nodeId: number;
  readonly features: readonly Feature[];
}

const upgradeType = { upgrade: 1, safeDowngrade: 2, unsafeDowngrade: 3 } as const;
const kindsVersion = 1;
const noResultsVersion = 2;

export function updateFeaturesHandler(
  deps: UpdateFeaturesDeps,
): RequestHandler<UpdateFeaturesRequest, UpdateFeaturesResponseInput> {
  const { topics, control, nodeId, features } = deps;

  function problem(update: UpdateFeaturesRequestFeatureUpdateKey, version: number): string | null {
    const { feature: name, maxVersionLevel: level, allowDowngrade } = update;
    const downgrade = allowDowngrade ? upgradeType.safeDowngrade : upgradeType.upgrade;
    const kind = version >= kindsVersion ? update.upgradeType : downgrade;
    const wrong = (why: string): string => `Invalid update version ${level} for feature ${name}. ${why}`;
    const feature = features.find((each) => each.name === name);
    if (feature === undefined) return wrong(`Local controller ${nodeId} does not support this feature.`);
    if (kind < upgradeType.upgrade || kind > upgradeType.unsafeDowngrade)
      return wrong('The controller does not support the given upgrade type.');
    if (level < 0) return wrong('A feature version cannot be less than 0.');
    const { minVersion, maxVersion } = feature;
    if (level > maxVersion || level < minVersion)
      return wrong(`Local controller ${nodeId} only supports versions ${minVersion}-${maxVersion}`);
    if (level < featureLevel(topics.image, feature) && kind === upgradeType.upgrade)
      return wrong(
        "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
      );
    return null;
  }

  return {
    codec: UpdateFeaturesCodec,
    handle({ apiVersion }, request, respond) {
      const updates = request.featureUpdates;
      for (const update of updates) {
        const why = problem(update, apiVersion);
        if (why === null) continue;
        const errorMessage = `The update failed for all features since the following feature had an error: ${why}`;
        respond({ errorCode: ErrorCode.INVALID_UPDATE_VERSION, errorMessage });
        return;
      }
      const done = (errorCode: number, errorMessage: string | null): void =>
        respond({
          errorCode,
          errorMessage,
          results:
            errorCode !== ErrorCode.NONE || apiVersion >= noResultsVersion
              ? []
              : updates.map(({ feature }) => ({ feature, errorMessage: 'NONE' })),
        });
      const levels = new Map(updates.map(({ feature, maxVersionLevel }) => [feature, maxVersionLevel]));
      const edits: ConfigEdit[] = [];
      for (const feature of features) {
        const level = levels.get(feature.name);
        if (level === undefined || level === featureLevel(topics.image, feature)) continue;
        edits.push({ resource: 'feature', name: feature.name, entries: { level: String(level) } });
      }
      if (request.validateOnly || edits.length === 0) {
        done(ErrorCode.NONE, null);
        return;
      }
      withinLimit(deps, begunMsMin, control.alterConfigs(edits), (outcomes, failure) => {
        const refused = outcomes?.find(({ error }) => error !== ErrorCode.NONE);
        done(refused?.error ?? failure, refused?.message ?? null);
      });
    },
  };
}
