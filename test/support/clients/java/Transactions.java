// Jobs with transactions. Forms of jobs, records and answers: ../jobs.ts.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;

class Transactions {
    final Map<String, String> job;
    final String topic;

    Transactions(Map<String, String> job) {
        this.job = job;
        topic = job.get("topic");
    }

    KafkaProducer<byte[], byte[]> begun(int timeoutMs) {
        Map<String, Object> settings = Driver.connection();
        settings.put("transactional.id", job.get("id"));
        settings.put("transaction.timeout.ms", timeoutMs);
        settings.put("delivery.timeout.ms", Math.min(timeoutMs, 60_000));
        settings.put("request.timeout.ms", Math.min(timeoutMs, 20_000));
        settings.put("max.block.ms", 120_000);
        settings.put("linger.ms", 0);
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        producer.initTransactions();
        return producer;
    }

    void send(KafkaProducer<byte[], byte[]> producer, int round, String verdict) {
        int partitions = Integer.parseInt(job.get("partitions"));
        for (int number = 0; number < 2; number++) {
            for (int partition = 0; partition < partitions; partition++) {
                String value = String.join(" ", job.get("id"), "" + round, verdict, "" + partition, "" + number);
                producer.send(new ProducerRecord<>(topic, partition, null, value.getBytes()));
            }
        }
    }

    Map<String, Object> transact() throws Exception {
        KafkaProducer<byte[], byte[]> producer = begun(60_000);
        String script = job.get("script");
        for (int round = 0; round < script.length(); round++) {
            switch (script.charAt(round)) {
                case 'c' -> {
                    producer.beginTransaction();
                    send(producer, round, "keep");
                    producer.commitTransaction();
                }
                case 'a', 'i', 'e' -> {
                    producer.beginTransaction();
                    if (script.charAt(round) != 'e') send(producer, round, "drop");
                    if (script.charAt(round) == 'a') producer.flush();
                    producer.abortTransaction();
                }
                case 'z' -> {
                    producer.beginTransaction();
                    send(producer, round, "drop");
                    producer.flush();
                    KafkaProducer<byte[], byte[]> newer = begun(60_000);
                    refused(producer::commitTransaction);
                    producer.close(Duration.ZERO);
                    producer = newer;
                }
                case 't' -> {
                    producer.close();
                    KafkaProducer<byte[], byte[]> late = begun(1_000);
                    late.beginTransaction();
                    send(late, round, "drop");
                    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(200);
                    boolean ended = false;
                    while (!ended && System.nanoTime() < deadline) {
                        Thread.sleep(200);
                        try {
                            late.send(new ProducerRecord<>(topic, 0, null, "late drop".getBytes())).get();
                        } catch (ExecutionException | KafkaException error) {
                            ended = true;
                        }
                    }
                    if (!ended) throw new IllegalStateException("the broker never ended the transaction");
                    refused(late::commitTransaction);
                    late.close(Duration.ZERO);
                    producer = begun(60_000);
                }
                default -> throw new IllegalArgumentException(script);
            }
        }
        producer.close();
        return Map.of();
    }

    static void refused(Runnable commit) {
        try {
            commit.run();
        } catch (KafkaException expected) {
            return;
        }
        throw new IllegalStateException("a producer that is fenced has committed");
    }

    Map<String, Object> copy() {
        job.put("instance", job.get("id"));
        job.put("isolation", "committed");
        for (int round = 0; ; ) {
            try (KafkaProducer<byte[], byte[]> producer = begun(60_000); KafkaConsumer<byte[], byte[]> consumer = Driver.consumer(job)) {
                consumer.subscribe(List.of(topic));
                while (!isDone(consumer)) {
                    ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                    if (!records.isEmpty()) move(producer, consumer, records, ++round % Integer.parseInt(job.get("drops")) == 0);
                }
                return Map.of();
            } catch (KafkaException error) {
                // Whatever became of the transaction: the next producer ends it, and the group's offsets say where to go on.
                System.err.println(error);
            }
        }
    }

    boolean isDone(KafkaConsumer<byte[], byte[]> consumer) {
        long sum = 0;
        for (OffsetAndMetadata one : consumer.committed(consumer.assignment()).values()) if (one != null) sum += one.offset();
        return sum >= Long.parseLong(job.get("count"));
    }

    void move(KafkaProducer<byte[], byte[]> producer, KafkaConsumer<byte[], byte[]> consumer, ConsumerRecords<byte[], byte[]> records, boolean drops) {
        Map<TopicPartition, OffsetAndMetadata> after = new HashMap<>();
        producer.beginTransaction();
        for (ConsumerRecord<byte[], byte[]> one : records) {
            producer.send(new ProducerRecord<>(job.get("to"), one.partition(), one.key(), drops ? "dropped".getBytes() : one.value()));
            after.put(new TopicPartition(topic, one.partition()), new OffsetAndMetadata(one.offset() + 1));
        }
        producer.sendOffsetsToTransaction(after, consumer.groupMetadata());
        if (!drops) {
            producer.commitTransaction();
            return;
        }
        producer.abortTransaction();
        consumer.committed(consumer.assignment()).forEach((place, offset) -> consumer.seek(place, offset == null ? 0 : offset.offset()));
    }
}
