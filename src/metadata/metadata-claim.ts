/**
 * CONTRACT of a broker's way to its metadata: look, claim, register. Main thread.
 *
 *   open ──► image as it stands ──► claim ──► register ──► MetadataStore: every commit carries this registration
 *            (nothing written: a start may still be refused)
 *
 * With the embedded journal the claim is a seal, and there is one owner at a time; in a cluster many brokers are registered
 * side by side, and the claim is the registration's own lease.
 */
import type { Membership } from './membership.ts';
import type { BrokerEndpoint, ClusterImage, MetadataChange, MetadataStore } from './metadata-store.ts';
import type { ReportBoard } from './report-board.ts';

/** What a broker says of itself when it registers. */
export interface BrokerRegistration {
  readonly node: number;
  /** At least one; the first is for other brokers. */
  readonly endpoints: readonly BrokerEndpoint[];
  readonly rack: string | null;
}

export interface MetadataClaim {
  /** As it stood at the last look. */
  readonly image: ClusterImage;
  /**
   * Claims the metadata; resolves with the revision. Rejects with METADATA_FENCED (fenced) when the authority moved elsewhere.
   * @param expected the revision that was judged before. When somebody else has been at work since then, this rejects with
   * METADATA_MOVED (fenced) and claims nothing: the other goes on undisturbed.
   */
  claim(expected?: number): Promise<number>;
  /**
   * Registers the broker under the next epoch, in one commit with `changes`; the store that it resolves with commits as that
   * registration.
   */
  register(broker: BrokerRegistration, changes?: readonly MetadataChange[]): Promise<RegisteredMetadata>;
  /**
   * Boottime ms: when the newest request was sent whose answer proved that nobody had taken the metadata from this owner
   * by then.
   */
  readonly contactedAt: number;
  /** Object ids below were granted to owners that are fenced: what they stored and did not commit never can be. */
  readonly idFloor: number;
  close(): Promise<void>;
}

export interface RegisteredMetadata {
  readonly store: MetadataStore;
  /** Epoch of the registration. */
  readonly epoch: number;
}

/** Where metadata are decided, as a broker comes to it. */
export interface Authority {
  readonly claim: MetadataClaim;
  /** Null where one broker has the store to itself. */
  readonly membership: Membership | null;
  /** Null where nobody reads reports. */
  readonly board: ReportBoard | null;
  /** Ends the membership, and what the claim was reached by; after the claim is closed. */
  release(): Promise<void>;
}
