/** What the file connectors of release 4.3 ask of the clients for their version; release 4.4, which has no such connectors, moved it. */
package org.apache.kafka.common.utils;

public final class AppInfoParser {
    private AppInfoParser() {}

    public static String getVersion() {
        return org.apache.kafka.common.utils.internals.AppInfoParser.getVersion();
    }
}
