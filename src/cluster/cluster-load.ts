/** What brokers and streams carry, as plain data from the brokers' reports. Rates are per second, means over some seconds. */
export interface StreamLoad {
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly requests: number;
}

export interface BrokerLoad extends StreamLoad {
  /** 0–1 of the cores that the broker may use. */
  readonly cpu: number;
}

export interface ClusterLoad {
  readonly brokers: ReadonlyMap<number, BrokerLoad>;
  /** By stream key (ports/stream-id.ts); a stream that is missing carries nothing that is worth mentioning. */
  readonly streams: ReadonlyMap<string, StreamLoad>;
}

export const noLoad: StreamLoad = { bytesIn: 0, bytesOut: 0, requests: 0 };

/** What streams carry and brokers are compared by. */
export const streamResources = ['bytesIn', 'bytesOut', 'requests'] as const;
export type StreamResource = (typeof streamResources)[number];

/** Mean per broker below which a resource decides nothing: differences are noise there. */
export const negligible: Readonly<Record<StreamResource, number>> = {
  bytesIn: 256 * 1024,
  bytesOut: 256 * 1024,
  requests: 50,
};
