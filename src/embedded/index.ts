/**
 * The library interface: a whole broker in this process.
 *
 *     import { startBroker } from 'millrace';
 *     const broker = await startBroker();             // in memory, any free port, in this thread
 *     new Kafka({ brokers: [broker.addresses.plain] });
 *     await broker.stop();
 */
// Loaded with the package, so that the first start of a broker in the caller's thread does not wait for it.
import '../broker/deploy-inline.ts';

export { MillraceError } from '../ports/errors.ts';
export type { Broker, BrokerOptions } from './broker-types.ts';
export { embeddedSettings, startBroker } from './start-broker.ts';
