// Writes golden bytes of Kafka's messages with the Java client's own classes; see generate-golden.sh.
import java.io.FileOutputStream;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.zip.GZIPOutputStream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/**
 * Writes messages as the Java client encodes them, for the tests to read back: for every class and version named,
 * one message of defaults and a few of seeded random values. See generate-golden.sh for how it is run.
 *
 * Arguments: output file (gzip), then one per class: full class name, or name:min-max to limit the versions.
 * Lines of the output: class, version, bytes in base64, and for defaults and the first random message the fields as
 * JSON by Kafka's own converter; separated by tabs.
 */
public final class GoldenMessages {
  private static final int RANDOM_PER_VERSION = 3;
  private static final String[] TEXT = {"a", "Z", "7", ".", "_", "-", " ", "\u00e9", "\u6f22", "\ud83d\ude80"};

  private final Random random;

  private GoldenMessages(long seed) {
    this.random = new Random(seed);
  }

  public static void main(String[] args) throws Exception {
    int lines = 0;
    try (Writer out =
        new OutputStreamWriter(
            new GZIPOutputStream(new FileOutputStream(args[0])) {
              {
                def.setLevel(9);
              }
            },
            StandardCharsets.UTF_8)) {
      for (int i = 1; i < args.length; i++) lines += writeClass(out, args[i]);
    }
    System.out.println(lines + " messages in " + args[0]);
  }

  private static int writeClass(Writer out, String spec) throws Exception {
    int colon = spec.indexOf(':');
    Class<?> type = Class.forName(colon < 0 ? spec : spec.substring(0, colon));
    int min = type.getField("LOWEST_SUPPORTED_VERSION").getShort(null);
    int max = type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null);
    if (colon >= 0) {
      String[] bounds = spec.substring(colon + 1).split("-");
      min = Math.max(min, Integer.parseInt(bounds[0]));
      max = Math.min(max, Integer.parseInt(bounds[bounds.length - 1]));
    }
    int lines = 0;
    for (int version = min; version <= max; version++) {
      for (int i = 0; i <= RANDOM_PER_VERSION; i++) {
        GoldenMessages golden = new GoldenMessages((type.getName().hashCode() * 31L + version) * 31L + i);
        Message message = (Message) type.getConstructor().newInstance();
        if (i > 0) golden.fill(message, (short) version, 0);
        out.write(type.getSimpleName() + "\t" + version + "\t" + encode(message, (short) version) + "\t");
        if (i <= 1) out.write(json(message, (short) version));
        out.write("\n");
        lines++;
      }
    }
    return lines;
  }

  private static String encode(Message message, short version) {
    ObjectSerializationCache cache = new ObjectSerializationCache();
    ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
    message.write(new ByteBufferAccessor(buffer), cache, version);
    if (buffer.hasRemaining()) throw new IllegalStateException("size of " + message.getClass());
    return Base64.getEncoder().encodeToString(buffer.array());
  }

  /** Kafka's converter answers a JSON tree whose text is one line. */
  private static String json(Message message, short version) throws Exception {
    Class<?> converter = Class.forName(message.getClass().getName() + "JsonConverter");
    Method write = converter.getMethod("write", message.getClass(), short.class, boolean.class);
    return write.invoke(null, message, version, false).toString();
  }

  /** Sets every field that the version has to a random value. */
  private void fill(Message message, short version, int depth) throws Exception {
    Schema[] schemas = (Schema[]) message.getClass().getField("SCHEMAS").get(null);
    Map<String, Type> present = fieldsOf(schemas[version]);
    for (Field field : message.getClass().getDeclaredFields()) {
      if (Modifier.isStatic(field.getModifiers())) continue;
      Type type = present.get(plain(field.getName()));
      if (type == null || field.getName().startsWith("_")) continue;
      field.setAccessible(true);
      if (type.isNullable() && random.nextInt(4) == 0) field.set(message, null);
      else field.set(message, value(field, type, version, depth));
    }
  }

  private static Map<String, Type> fieldsOf(Schema schema) {
    Map<String, Type> fields = new HashMap<>();
    for (BoundField field : schema.fields()) {
      if (field.def.type instanceof TaggedFields tagged) {
        tagged.fields().values().forEach(inner -> fields.put(plain(inner.name), inner.type));
      } else {
        fields.put(plain(field.def.name), field.def.type);
      }
    }
    return fields;
  }

  private static String plain(String name) {
    return name.replace("_", "").toLowerCase();
  }

  private Object value(Field field, Type type, short version, int depth) throws Exception {
    Class<?> java = field.getType();
    if (java == int.class) return type.toString().equals("UINT16") ? random.nextInt(0x10000) : random.nextInt();
    if (Collection.class.isAssignableFrom(java)) {
      @SuppressWarnings("unchecked")
      Collection<Object> list =
          java == List.class ? new ArrayList<>() : (Collection<Object>) java.getConstructor().newInstance();
      ParameterizedType generic =
          (ParameterizedType) (java == List.class ? field.getGenericType() : java.getGenericSuperclass());
      Class<?> entry = Class.forName(generic.getActualTypeArguments()[0].getTypeName());
      int count = depth > 2 ? random.nextInt(2) : random.nextInt(4);
      for (int i = 0; i < count; i++) list.add(scalar(entry, version, depth + 1));
      return list;
    }
    return scalar(java, version, depth + 1);
  }

  private Object scalar(Class<?> java, short version, int depth) throws Exception {
    if (java == byte.class || java == Byte.class) return (byte) random.nextInt();
    if (java == short.class || java == Short.class) return (short) random.nextInt();
    if (java == int.class || java == Integer.class) return random.nextInt();
    if (java == long.class || java == Long.class) return int64();
    if (java == double.class) return random.nextGaussian() * 1e6;
    if (java == boolean.class) return random.nextBoolean();
    if (java == String.class) return text();
    if (java == byte[].class) return bytes();
    if (java == ByteBuffer.class) return ByteBuffer.wrap(bytes());
    if (java == Uuid.class) return random.nextInt(5) == 0 ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
    if (Message.class.isAssignableFrom(java)) {
      Message inner = (Message) java.getConstructor().newInstance();
      fill(inner, version, depth);
      return inner;
    }
    return records().getMethod("readableRecords", ByteBuffer.class).invoke(null, ByteBuffer.wrap(bytes()));
  }

  /** The class moved between the releases. */
  private static Class<?> records() throws ClassNotFoundException {
    try {
      return Class.forName("org.apache.kafka.common.record.internal.MemoryRecords");
    } catch (ClassNotFoundException older) {
      return Class.forName("org.apache.kafka.common.record.MemoryRecords");
    }
  }

  /** Numbers that a double holds exactly, and now and then the ends of the 64-bit range. */
  private long int64() {
    return switch (random.nextInt(10)) {
      case 0 -> Long.MAX_VALUE;
      case 1 -> Long.MIN_VALUE;
      case 2, 3 -> random.nextLong() >> 11;
      case 4, 5 -> random.nextInt();
      default -> random.nextInt(1000) - 1;
    };
  }

  /** Mostly short; sometimes long enough that its length takes a second byte. */
  private String text() {
    int length = random.nextInt(30) == 0 ? 130 + random.nextInt(40) : random.nextInt(7);
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < length; i++) text.append(TEXT[random.nextInt(random.nextInt(3) == 0 ? TEXT.length : 6)]);
    return text.toString();
  }

  private byte[] bytes() {
    byte[] bytes = new byte[random.nextInt(30) == 0 ? 140 : random.nextInt(12)];
    random.nextBytes(bytes);
    return bytes;
  }
}
