/**
 * Apicurio Registry, a schema registry that keeps its schemas in a topic of Kafka and speaks the interface of Confluent's. Its
 * program is a package of Maven's repository; later releases than this one need a newer Java.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installed, step } from '../../installed.ts';
import { ownPort } from '../../ports.ts';
import { JavaServer } from './java-server.ts';

const version = '3.0.9';
const artifact = `io.apicurio:apicurio-registry-app:${version}:tar.gz:all`;
const noProject = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>millrace.test</groupId><artifactId>registry</artifactId><version>1</version><packaging>pom</packaging></project>
`;

/** Throws where it cannot be had; not started yet. `url` is that of Confluent's interface. */
export async function schemaRegistry(bootstrap: string): Promise<{ server: JavaServer; url: string }> {
  const home = await installed('apicurio-registry', artifact, async (aside) => {
    const pom = join(aside, 'pom.xml');
    writeFileSync(pom, noProject);
    const fetched = join(aside, 'fetched');
    mkdirSync(fetched);
    const goal = ['dependency:copy', `-Dartifact=${artifact}`, `-DoutputDirectory=${fetched}`];
    await step('mvn', ['-B', '-q', '-f', pom, ...goal]);
    await step('tar', ['xzf', join(fetched, `apicurio-registry-app-${version}-all.tar.gz`), '-C', aside]);
    rmSync(fetched, { recursive: true });
  });
  const port = await ownPort();
  const flags = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
  const server = new JavaServer({
    command: ['java', ...flags, '-jar', join(home, `apicurio-registry-app-${version}-runner.jar`)],
    env: {
      APICURIO_STORAGE_KIND: 'kafkasql',
      APICURIO_KAFKASQL_BOOTSTRAP_SERVERS: bootstrap,
      QUARKUS_HTTP_HOST: '127.0.0.1',
      QUARKUS_HTTP_PORT: String(port),
    },
    readyUrl: `${url}/subjects`,
  });
  return { server, url };
}
