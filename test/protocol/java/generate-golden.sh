#!/bin/sh
# Rewrites test/fixtures/protocol/golden-*.tsv.gz with the Java client's own encoders. Run from the repository's root;
# needs Java 17 and Maven. The result is the same each time: seeds depend on class and version only.
set -eu
root=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() {
  mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -Dartifact="$1" -DoutputDirectory="$work/$2"
}
for jar in kafka-clients kafka-group-coordinator kafka-transaction-coordinator kafka-share-coordinator; do
  fetch org.apache.kafka:$jar:4.4.0 new
done
fetch org.apache.kafka:kafka-clients:3.9.1 old
for set in new old; do
  fetch org.slf4j:slf4j-api:1.7.36 $set
  for jar in databind core annotations; do fetch com.fasterxml.jackson.core:jackson-$jar:2.17.2 $set; done
done

schema=src/protocol/schema
message=org.apache.kafka.common.message
apis=$(sed -n 's/^== [0-9]* \([A-Za-z0-9]*\) .*/\1/p' $schema/messages.schema)
new=''
for api in $apis; do new="$new $message.${api}RequestData $message.${api}ResponseData"; done
new="$new $message.RequestHeaderData $message.ResponseHeaderData $message.DefaultPrincipalData"
for name in ConsumerProtocolSubscription ConsumerProtocolAssignment ControlRecordTypeSchema EndTxnMarker; do
  new="$new $message.$name"
done
for package in group transaction share; do
  case $package in group) topic=__consumer_offsets ;; transaction) topic=__transaction_state ;; share) topic=__share_group_state ;; esac
  for name in $(awk -v topic="$topic" '/^## topic/ { on = $3 == topic } on && /^-- / { print $4 }' $schema/coordinator-records.schema); do
    class=org/apache/kafka/coordinator/$package/generated/$name.class
    if unzip -l "$work"/new/kafka-$package-coordinator-4.4.0.jar | grep -q "$class"; then
      new="$new org.apache.kafka.coordinator.$package.generated.$name"
    fi
  done
done
# versions that Kafka 4 dropped: tools/protocol/older-versions.ts
old=''
for spec in ListOffsets:0-0 OffsetCommit:0-1 OffsetFetch:0-0 CreateTopics:0-1 DeleteTopics:0-0 OffsetForLeaderEpoch:0-1 \
  WriteTxnMarkers:0-0 DescribeAcls:0-0 CreateAcls:0-0 DeleteAcls:0-0 DescribeConfigs:0-0 AlterReplicaLogDirs:0-0 \
  DescribeLogDirs:0-0 CreateDelegationToken:0-0 RenewDelegationToken:0-0 ExpireDelegationToken:0-0 DescribeDelegationToken:0-0; do
  name=${spec%:*}
  range=${spec#*:}
  old="$old $message.${name}RequestData:$range $message.${name}ResponseData:$range"
done

out=test/fixtures/protocol
mkdir -p $out
javac -cp "$work/new/*" -d "$work/classes" test/protocol/java/GoldenMessages.java
java -cp "$work/classes:$work/new/*" GoldenMessages "$root/$out/golden-4.4.0.tsv.gz" $new
java -cp "$work/classes:$work/old/*" GoldenMessages "$root/$out/golden-3.9.1.tsv.gz" $old
