import java.io.*;
import java.nio.ByteBuffer;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.*;

/**
 * What Java's own reader and writer of properties do, for comparison. Every line of the standard input is one question,
 * every line of the standard output its answer. All strings are hexadecimal UTF-8, "-" when empty.
 *
 *   store KEY VALUE KEY VALUE ...   the text that Properties.store writes
 *   load TEXT                       KEY VALUE ... that Properties.load reads, sorted by key, or "error"
 */
class JavaProperties {
    public static void main(String[] args) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)), false);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            out.println(words[0].equals("store") ? store(words) : load(words[1]));
        }
        out.flush();
    }

    private static String store(String[] words) throws IOException {
        Properties properties = new Properties();
        for (int i = 1; i < words.length; i += 2) {
            properties.setProperty(decode(words[i]), decode(words[i + 1]));
        }
        StringWriter text = new StringWriter();
        properties.store(text, "Java properties built from Kubernetes config map with name: x");
        return encode(text.toString());
    }

    private static String load(String text) throws IOException {
        Properties properties = new Properties();
        try {
            properties.load(new StringReader(decode(text)));
        } catch (IllegalArgumentException malformed) {
            return "error";
        }
        List<String> words = new ArrayList<>();
        for (String key : new TreeSet<>(properties.stringPropertyNames())) {
            words.add(encode(key));
            words.add(encode(properties.getProperty(key)));
        }
        return String.join(" ", words);
    }

    private static String decode(String hex) {
        return hex.equals("-") ? "" : new String(HexFormat.of().parseHex(hex), StandardCharsets.UTF_8);
    }

    private static String encode(String text) throws IOException {
        // Half of a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD as in Go.
        ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder()
            .onMalformedInput(CodingErrorAction.REPLACE)
            .replaceWith("\uFFFD".getBytes(StandardCharsets.UTF_8))
            .encode(java.nio.CharBuffer.wrap(text));
        byte[] copy = new byte[bytes.remaining()];
        bytes.get(copy);
        return copy.length == 0 ? "-" : HexFormat.of().formatHex(copy);
    }
}
