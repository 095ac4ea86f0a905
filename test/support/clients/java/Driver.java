// Runs jobs with Apache Kafka's Java client: Driver BOOTSTRAP JOBS. Forms of jobs, records and answers: ../jobs.ts.

import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class Driver {
    static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            Map<String, String> job = new HashMap<>();
            for (String part : line.split("\t")) job.put(part.substring(0, part.indexOf('=')), part.substring(part.indexOf('=') + 1));
            try {
                Map<String, Object> result = switch (job.get("op")) {
                    case "produce" -> produce(job);
                    case "consume" -> consume(job);
                    case "rebalance" -> rebalance(job);
                    case "admin" -> admin(job);
                    case "transact" -> new Transactions(job).transact();
                    case "copy" -> new Transactions(job).copy();
                    default -> throw new IllegalArgumentException("no such job: " + job.get("op"));
                };
                StringBuilder said = new StringBuilder("ok");
                result.forEach((name, value) -> said.append('\t').append(name).append('=').append(value));
                System.out.println(said);
            } catch (Throwable error) {
                String said = error.toString().replaceAll("\\s+", " ");
                System.out.println("error\t" + said.substring(0, Math.min(500, said.length())));
            }
        }
    }

    static byte[] decode(String text) {
        return text.equals("-") ? null : Base64.getDecoder().decode(text);
    }

    static String encode(byte[] bytes) {
        return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
    }

    static List<Header> headers(String named) {
        List<Header> headers = new ArrayList<>();
        for (String pair : named.split(",")) {
            if (pair.isEmpty()) continue;
            int end = 4;
            while (pair.charAt(end) != '=') end += 4;
            headers.add(new RecordHeader(new String(decode(pair.substring(0, end))), decode(pair.substring(end + 1))));
        }
        return headers;
    }

    /** MILLRACE_CLIENT_TLS names a directory of ca.pem, client.pem and client.key: connections are of TLS then. */
    static Map<String, Object> connection(String... more) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        for (int at = 0; at < more.length; at += 2) settings.put(more[at], more[at + 1]);
        String secured = System.getenv("MILLRACE_CLIENT_TLS");
        if (secured == null) return settings;
        settings.put("security.protocol", "SSL");
        settings.put("ssl.truststore.type", "PEM");
        settings.put("ssl.keystore.type", "PEM");
        try {
            settings.put("ssl.truststore.certificates", Files.readString(Path.of(secured, "ca.pem")));
            settings.put("ssl.keystore.certificate.chain", Files.readString(Path.of(secured, "client.pem")));
            settings.put("ssl.keystore.key", Files.readString(Path.of(secured, "client.key")));
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
        return settings;
    }

    static KafkaProducer<byte[], byte[]> producer(String codec) {
        Properties settings = new Properties();
        settings.putAll(connection());
        settings.put("enable.idempotence", "true");
        settings.put("acks", "all");
        settings.put("compression.type", codec);
        settings.put("linger.ms", "5");
        settings.put("delivery.timeout.ms", "120000");
        settings.put("request.timeout.ms", "20000");
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static Map<String, Object> produce(Map<String, String> job) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(job.get("codec"))) {
            for (String line : Files.readAllLines(Path.of(job.get("input")))) {
                String[] fields = line.split("\t", -1);
                sent.add(producer.send(new ProducerRecord<>(
                    job.get("topic"), null, decode(fields[0]), decode(fields[1]), headers(fields[2]))));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) one.get(120, TimeUnit.SECONDS);
        }
        return Map.of("records", sent.size());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, String> job) {
        Properties settings = new Properties();
        settings.putAll(connection());
        settings.put("group.id", job.get("group"));
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("max.poll.records", "500");
        settings.put("group.protocol", job.getOrDefault("protocol", "classic"));
        settings.put("isolation.level", "read_" + job.getOrDefault("isolation", "uncommitted"));
        if (job.containsKey("instance")) settings.put("group.instance.id", job.get("instance"));
        if (!job.containsKey("protocol")) {
            settings.put("session.timeout.ms", "30000");
            settings.put("heartbeat.interval.ms", "500");
        }
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static void save(String path, Collection<ConsumerRecord<byte[], byte[]>> records) throws Exception {
        try (BufferedWriter file = Files.newBufferedWriter(Path.of(path))) {
            for (ConsumerRecord<byte[], byte[]> one : records) {
                List<String> named = new ArrayList<>();
                for (Header header : one.headers()) named.add(encode(header.key().getBytes("UTF-8")) + "=" + encode(header.value()));
                file.write(encode(one.key()) + "\t" + encode(one.value()) + "\t" + String.join(",", named)
                    + "\t" + one.partition() + "\t" + one.offset() + "\n");
            }
        }
    }

    static Map<String, Object> consume(Map<String, String> job) throws Exception {
        int count = Integer.parseInt(job.get("count"));
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        Map<TopicPartition, OffsetAndMetadata> after = new HashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(job)) {
            consumer.subscribe(List.of(job.get("topic")));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(200);
            while (found.size() < count && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofMillis(500))) {
                    if (found.size() == count) break;
                    found.add(one);
                    after.put(new TopicPartition(one.topic(), one.partition()), new OffsetAndMetadata(one.offset() + 1));
                }
            }
            consumer.commitSync(after, Duration.ofSeconds(120));
        }
        save(job.get("output"), found);
        if (found.size() != count) throw new IllegalStateException(found.size() + " records instead of " + count);
        return Map.of("records", found.size());
    }

    /** A member that commits what it has read before it gives partitions up. */
    record Member(KafkaConsumer<byte[], byte[]> consumer, TreeMap<Long, ConsumerRecord<byte[], byte[]>> found) {
        void subscribe(String topic) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                public void onPartitionsRevoked(Collection<TopicPartition> given) { if (!given.isEmpty()) consumer.commitSync(); }
                public void onPartitionsAssigned(Collection<TopicPartition> taken) { }
            });
        }

        void poll() {
            for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofMillis(20))) {
                found.putIfAbsent(((long) one.partition() << 40) + one.offset(), one);
            }
        }

        Set<Integer> held() {
            return consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toSet());
        }
    }

    static void until(String what, BooleanSupplier condition, Member... members) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(200);
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) throw new IllegalStateException("never happened: " + what);
            for (Member member : members) member.poll();
        }
    }

    static Map<String, Object> rebalance(Map<String, String> job) throws Exception {
        int count = Integer.parseInt(job.get("count"));
        int partitions = Integer.parseInt(job.get("partitions"));
        TreeMap<Long, ConsumerRecord<byte[], byte[]>> found = new TreeMap<>();
        Member first = new Member(consumer(job), found);
        first.subscribe(job.get("topic"));
        until("the first member has all", () -> first.held().size() == partitions, first);
        Member second = new Member(consumer(job), found);
        second.subscribe(job.get("topic"));
        until("the members share", () -> !first.held().isEmpty() && !second.held().isEmpty()
            && Collections.disjoint(first.held(), second.held())
            && first.held().size() + second.held().size() == partitions, first, second);
        Map<String, Object> result = Map.of("first", first.held().size(), "second", second.held().size());
        until("half is read", () -> found.size() >= count / 2, first, second);
        second.consumer.commitSync();
        second.consumer.close();
        until("the first member has all again", () -> first.held().size() == partitions, first);
        until("all is read", () -> found.size() >= count, first);
        first.consumer.commitSync();
        first.consumer.close();
        save(job.get("output"), found.values());
        return result;
    }

    static Map<String, Object> admin(Map<String, String> job) throws Exception {
        String topic = job.get("topic");
        Map<String, Object> result = new LinkedHashMap<>();
        try (Admin admin = Admin.create(connection("default.api.timeout.ms", "120000", "request.timeout.ms", "60000"))) {
            admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "12345000")))).all().get();
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            result.put("created", admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value());
            admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(
                new ConfigEntry("retention.ms", "23456000"), AlterConfigOp.OpType.SET)))).all().get();
            result.put("altered", admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value());
            long begin = System.currentTimeMillis() - 60_000;
            try (KafkaProducer<byte[], byte[]> producer = producer("none")) {
                for (int at = 0; at < 20; at++) {
                    producer.send(new ProducerRecord<>(topic, 0, begin + at * 1000L, null, ("row " + at).getBytes())).get(20, TimeUnit.SECONDS);
                }
            }
            TopicPartition place = new TopicPartition(topic, 0);
            result.put("earliest", offset(admin, place, OffsetSpec.earliest()));
            result.put("latest", offset(admin, place, OffsetSpec.latest()));
            result.put("atTime", offset(admin, place, OffsetSpec.forTimestamp(begin + 7_500)));
            result.put("maxTime", offset(admin, place, OffsetSpec.maxTimestamp()));
            result.put("low", admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(5)))
                .lowWatermarks().get(place).get().lowWatermark());
            result.put("earliestAfter", offset(admin, place, OffsetSpec.earliest()));
            admin.deleteTopics(List.of(topic)).all().get();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(200);
            while (admin.listTopics().names().get().contains(topic) && System.nanoTime() < deadline) Thread.sleep(50);
            result.put("gone", !admin.listTopics().names().get().contains(topic));
        }
        return result;
    }

    static long offset(Admin admin, TopicPartition place, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(place, spec)).partitionResult(place).get().offset();
    }
}
